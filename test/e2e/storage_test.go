// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/generated/clientset/versioned"
	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/test/fleet"
)

const (
	// storagePrefix is where a server keeps everything unless told otherwise.
	storagePrefix = "/registry/muster/default/"
	// encryption covers everything, records included. What was stored before
	// there was a key can still be read.
	encryption = `
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: ["*.*"]
  providers:
  - aescbc: {keys: [{name: key1, secret: bXVzdGVyLXRlc3RzLWtleS1vZi0zMi1ieXRlcy4uLjE=}]}
  - identity: {}
`
	definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: sveltosclusters.lib.projectsveltos.io}
spec:
  group: lib.projectsveltos.io
  scope: Namespaced
  names: {kind: SveltosCluster, plural: sveltosclusters, singular: sveltoscluster}
  versions:
  - name: v1beta1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`
)

// installation is a host with a Muster of its own, to be stopped and taken apart.
type installation struct {
	*testing.T
	*fleet.Fleet
	muster versioned.Interface
}

func newInstallation(t *testing.T, args ...string) *installation {
	t.Helper()
	f, err := fleet.Start(t.Context(), fleet.Options{Name: "storage", Dir: t.TempDir(), MusterArgs: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Muster's log ends:\n%s", f.Muster.LogTail())
		}
		if err := f.Stop(); err != nil {
			t.Error(err)
		}
	})
	config, err := f.Host.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	i := &installation{T: t, Fleet: f}
	if i.muster, err = versioned.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	return i
}

// run is kubectl as administrator of the host.
func (i *installation) run(stdin string, args ...string) string {
	i.Helper()
	result, err := i.Host.Kubectl().Input(i.Context(), stdin, args...)
	if err != nil {
		i.Fatal(err)
	}
	return result.Stdout
}

func (i *installation) eventually(what string, check func(context.Context) error) {
	i.Helper()
	ctx, cancel := context.WithTimeout(i.Context(), deploySoon)
	defer cancel()
	if err := fleet.Await(ctx, check); err != nil {
		i.Fatalf("waited until %s: %v", what, err)
	}
}

func (i *installation) stop() {
	i.Helper()
	if err := i.Muster.Stop(i.Context()); err != nil {
		i.Fatal(err)
	}
}

func (i *installation) start() {
	i.Helper()
	if err := i.Muster.Start(i.Context()); err != nil {
		i.Fatal(err)
	}
}

// inStorage works on what the server, which must be stopped, has stored.
func (i *installation) inStorage(work func(context.Context, *clientv3.Client)) {
	i.Helper()
	ctx, cancel := context.WithTimeout(i.Context(), deploySoon)
	defer cancel()
	server, err := etcd.Start(ctx, etcd.Config{DataDir: i.Muster.DataDir()})
	if err != nil {
		i.Fatal(err)
	}
	defer server.Close()
	client, err := etcd.NewClient(ctx, etcd.ClientConfig{Endpoints: []string{server.Endpoint()}})
	if err != nil {
		i.Fatal(err)
	}
	defer client.Close()
	work(ctx, client)
}

// TestStorage: what is stored is encrypted as configured, survives a restart,
// and a stored value that is no longer valid is no obstacle to what is.
func TestStorage(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "encryption.yaml")
	if err := os.WriteFile(file, []byte(encryption), 0o600); err != nil {
		t.Fatal(err)
	}
	i := newInstallation(t, "--encryption-provider-config="+file)
	const canary = "canary-in-the-storage"
	i.run(fmt.Sprintf(`
apiVersion: lib.projectsveltos.io/v1beta1
kind: ClusterSet
metadata: {name: kept, labels: {say: %[1]s}}
spec: {clusterSelector: {matchLabels: {say: %[1]s}}, maxReplicas: 1}
---
apiVersion: config.projectsveltos.io/v1beta1
kind: ClusterProfile
metadata: {name: kept}
spec:
  clusterSelector: {matchLabels: {say: %[1]s}}
  policyRefs: [{kind: ConfigMap, namespace: default, name: %[1]s}]
---
apiVersion: lib.projectsveltos.io/v1beta1
kind: SveltosCluster
metadata: {name: unreachable, namespace: default, labels: {say: %[1]s}}
`, canary), "apply", "-f", "-")
	before := i.identities()
	i.eventually("the profile's revision is recorded", func(ctx context.Context) error {
		profile, err := i.muster.ConfigV1beta1().ClusterProfiles().Get(ctx, "kept", metav1.GetOptions{})
		if err == nil && len(profile.Status.Conditions) == 0 {
			err = errors.New("it has no status yet")
		}
		return err
	})
	i.stop()
	i.inStorage(func(ctx context.Context, client *clientv3.Client) {
		i.wantEncrypted(ctx, client, canary)
		// As a version of Muster without our rules and keys would have stored it.
		stored := `{"apiVersion":"lib.projectsveltos.io/v1beta1","kind":"ClusterSet","metadata":{"name":"old","uid":"5f0c0000-0000-4000-8000-000000000001","creationTimestamp":"2024-01-01T00:00:00Z","generation":1},"spec":{"maxReplicas":-1}}`
		if _, err := client.Put(ctx, storagePrefix+"lib.projectsveltos.io/clustersets/old", stored); err != nil {
			t.Error(err)
		}
	})
	i.start()
	if after := i.identities(); asJSON(after) != asJSON(before) {
		t.Errorf("after a restart there is %v, was %v", after, before)
	}
	i.run("", "label", "clusterset", "old", "new=label")
	_, err := i.muster.LibV1beta1().ClusterSets().Patch(t.Context(), "old", types.MergePatchType, []byte(`{"spec":{"maxReplicas":-2}}`), metav1.PatchOptions{})
	if fields := causes(err); len(fields) != 1 || fields[0] != "spec.maxReplicas" {
		t.Errorf("another bad value is answered with %v", err)
	}
	i.run("", "patch", "clusterset", "old", "--type=merge", "--patch", `{"metadata":{"finalizers":["example.com/a"]}}`)
	i.run("", "delete", "clusterset", "old", "--wait=false")
	i.run("", "patch", "clusterset", "old", "--type=merge", "--patch", `{"metadata":{"finalizers":null}}`)
	i.run("", "wait", "--for=delete", "clusterset/old", "--timeout=20s")
}

// identities are the UIDs of all that TestStorage makes, by kind.
func (i *installation) identities() map[string]types.UID {
	i.Helper()
	found := map[string]types.UID{}
	set, err1 := i.muster.LibV1beta1().ClusterSets().Get(i.Context(), "kept", metav1.GetOptions{})
	profile, err2 := i.muster.ConfigV1beta1().ClusterProfiles().Get(i.Context(), "kept", metav1.GetOptions{})
	cluster, err3 := i.muster.LibV1beta1().SveltosClusters("default").Get(i.Context(), "unreachable", metav1.GetOptions{})
	if err := errors.Join(err1, err2, err3); err != nil {
		i.Fatal(err)
	}
	found["set"], found["profile"], found["cluster"] = set.UID, profile.UID, cluster.UID
	return found
}

// wantEncrypted reads every value as etcd has it.
func (i *installation) wantEncrypted(ctx context.Context, client *clientv3.Client, canary string) {
	i.Helper()
	all, err := client.Get(ctx, storagePrefix, clientv3.WithPrefix())
	if err != nil {
		i.Fatal(err)
	}
	var objects, records int
	for _, kv := range all.Kvs {
		key := strings.TrimPrefix(string(kv.Key), storagePrefix)
		if bytes.Contains(kv.Value, []byte(canary)) {
			i.Errorf("%s holds the canary in plain text", key)
		}
		if !bytes.Contains(kv.Value, []byte("k8s:enc:aescbc:v1:key1:")) {
			// Whose storage it is has to be told without a key.
			if key != "epoch" && key != "compact_rev_key" && key != "installation" {
				i.Errorf("%s is not encrypted: %.40q", key, kv.Value)
			}
			continue
		}
		if strings.HasPrefix(key, "records/") {
			records++
		} else {
			objects++
		}
	}
	if objects < 3 || records < 1 {
		i.Errorf("found %d encrypted objects and %d records among %d keys", objects, records, len(all.Kvs))
	}
}

// TestForeignGroups: Muster does not start beside somebody else's definitions of
// its groups, and warns of those that come later.
func TestForeignGroups(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.run(definition, "apply", "-f", "-")
	i.eventually("the APIService has a warning", func(ctx context.Context) error {
		result, err := i.Kubectl(ctx, "get", "apiservice", "v1beta1.lib.projectsveltos.io", "-o",
			`jsonpath={.status.conditions[?(@.type=="ShadowsCustomResourceDefinitions")]}`)
		if err == nil && (!strings.Contains(result.Stdout, `"status":"True"`) || !strings.Contains(result.Stdout, "sveltosclusters.lib.projectsveltos.io")) {
			err = fmt.Errorf("its condition is %q", result.Stdout)
		}
		return err
	})
	i.eventually("there is an event", func(ctx context.Context) error {
		result, err := i.Kubectl(ctx, "get", "events", "--field-selector=involvedObject.kind=APIService,type=Warning", "-o", "jsonpath={.items[*].message}")
		if err == nil && !strings.Contains(result.Stdout, "installed on the host but unreachable") {
			err = fmt.Errorf("the events are %q", result.Stdout)
		}
		return err
	})
	// It goes on serving: the definition took nothing over. The host may still be
	// fetching the schemas that kubectl validates with.
	i.eventually("Muster's API takes objects", func(ctx context.Context) error {
		_, err := i.Host.Kubectl().Input(ctx, "{apiVersion: lib.projectsveltos.io/v1beta1, kind: ClusterSet, metadata: {name: a}, spec: {maxReplicas: 1}}", "apply", "-f", "-")
		return err
	})

	i.stop()
	i.refusesAnotherService()
	registration := i.registration("v1beta1.lib.projectsveltos.io")
	i.run("", "delete", "apiservice", "v1beta1.lib.projectsveltos.io")
	i.eventually("the host serves the group itself", func(ctx context.Context) error {
		result, err := i.Kubectl(ctx, "get", "apiservice", "v1beta1.lib.projectsveltos.io", "--show-labels")
		if err == nil && !strings.Contains(result.Stdout, "automanaged") {
			err = errors.New(result.Stdout)
		}
		return err
	})
	const sentence = "the host serves API group lib.projectsveltos.io itself"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := i.Muster.Start(ctx); err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), sentence) || !strings.Contains(err.Error(), "delete the CustomResourceDefinitions") {
		t.Errorf("it starts beside automanaged APIServices, or does not say what to do: %v", err)
	}
	// What it says to do works.
	i.run("", "delete", "customresourcedefinition", "sveltosclusters.lib.projectsveltos.io", "--wait=false")
	i.eventually("the host's own APIService is gone", func(ctx context.Context) error {
		// The host's finalizer gives up where it finds the definition's storage
		// still starting. There are no objects for it to delete.
		_, _ = i.Kubectl(ctx, "patch", "customresourcedefinition", "sveltosclusters.lib.projectsveltos.io", "--type=merge", "--patch", `{"metadata":{"finalizers":null}}`)
		result, err := i.Kubectl(ctx, "get", "apiservice", "v1beta1.lib.projectsveltos.io", "--ignore-not-found", "-o", "name")
		if err == nil && result.Stdout != "" {
			err = errors.New("it is there")
		}
		return err
	})
	// To validate it, kubectl would ask Muster, which does not run.
	i.run(registration, "apply", "--validate=false", "-f", "-")
	i.start()
	i.run("", "get", "clusterset", "a")
}

// refusesAnotherService: an APIService that leads to somebody else's Service is
// left alone, and Muster does not start.
func (i *installation) refusesAnotherService() {
	i.Helper()
	lead := func(to string) {
		i.run("", "patch", "apiservice", "v1beta1.lib.projectsveltos.io", "--type=merge", "--patch", `{"spec":{"service":{"name":"`+to+`"}}}`)
	}
	lead("another")
	defer lead("muster")
	ctx, cancel := context.WithTimeout(i.Context(), time.Minute)
	defer cancel()
	err := i.Muster.Start(ctx)
	if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "APIService v1beta1.lib.projectsveltos.io") || !strings.Contains(err.Error(), "another") {
		i.Errorf("it starts beside somebody else's APIService, or does not name whose: %v", err)
	}
	if got := i.run("", "get", "apiservice", "v1beta1.lib.projectsveltos.io", "-o", "jsonpath={.spec.service.name}"); got != "another" {
		i.Errorf("the APIService leads to %q afterwards", got)
	}
}

// registration is an APIService, ready to be applied again.
func (i *installation) registration(name string) string {
	i.Helper()
	object := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(i.run("", "get", "apiservice", name, "-o", "json")), &object.Object); err != nil {
		i.Fatal(err)
	}
	object.SetResourceVersion("")
	object.SetUID("")
	object.SetManagedFields(nil)
	delete(object.Object, "status")
	return asJSON(object.Object)
}
