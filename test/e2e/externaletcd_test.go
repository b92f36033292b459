// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/test/fleet"
)

// reloadSoon is for the server to notice a changed EncryptionConfiguration, for
// which it looks once a minute.
const reloadSoon = 100 * time.Second

const auditPolicy = `
apiVersion: audit.k8s.io/v1
kind: Policy
rules: [{level: Metadata, omitStages: [RequestReceived]}]
`

// rotated encrypts with a new key and still reads what an older one encrypted.
var rotated = strings.Replace(encryption, "keys: [", "keys: [{name: key2, secret: bXVzdGVyLXRlc3RzLWtleS1vZi0zMi1ieXRlcy4uLjI=}, ", 1)

// TestExternalEtcd: with --etcd-servers everything is kept there and nothing in
// the data directory. A new encryption key is used without a restart, for objects
// and records, and the audit log has who did what.
func TestExternalEtcd(t *testing.T) {
	t.Parallel()
	server, err := etcd.Start(t.Context(), etcd.Config{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	client, err := etcd.NewClient(t.Context(), etcd.ClientConfig{Endpoints: []string{server.Endpoint()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	dir := t.TempDir()
	keys, policy, log := filepath.Join(dir, "encryption.yaml"), filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "audit.log")
	writeFile(t, keys, encryption)
	writeFile(t, policy, auditPolicy)
	i := newInstallation(t, "--etcd-servers="+server.Endpoint(),
		"--encryption-provider-config="+keys, "--encryption-provider-config-automatic-reload=true",
		"--audit-policy-file="+policy, "--audit-log-path="+log)

	i.profile("first")
	i.awaitKey(client, "key1", "objects and records of the first profile", "first")
	if _, err := os.Stat(i.Muster.DataDir()); !os.IsNotExist(err) {
		t.Errorf("there is a data directory beside an external etcd: %v", err)
	}
	writeFile(t, keys, rotated)
	ctx, cancel := context.WithTimeout(t.Context(), reloadSoon)
	defer cancel()
	// Whatever is written from the reload on has the new key.
	written := 0
	if err := fleet.Await(ctx, func(ctx context.Context) error {
		written++
		i.run("", "annotate", "clusterprofile", "first", "--overwrite", fmt.Sprintf("write=%d", written))
		return keyUsed(ctx, client, "config.projectsveltos.io/clusterprofiles/first", "key2")
	}); err != nil {
		t.Fatalf("waiting for the new key: %v", err)
	}
	i.profile("second")
	i.awaitKey(client, "key2", "objects and records of the second profile", "second")
	i.stop()
	i.start()
	i.run("", "get", "clusterprofile", "first", "second")

	audited, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if want := []byte(`"requestURI":"/apis/config.projectsveltos.io/v1beta1/clusterprofiles?`); !bytes.Contains(audited, want) || !bytes.Contains(audited, []byte(`"verb":"create"`)) {
		t.Errorf("the audit log has no create of a profile:\n%.2000s", audited)
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// profile makes a profile that matches nothing. Its spec becomes a record all the
// same.
func (i *installation) profile(name string) {
	i.Helper()
	i.run(fmt.Sprintf(`
apiVersion: config.projectsveltos.io/v1beta1
kind: ClusterProfile
metadata: {name: %[1]s}
spec:
  clusterSelector: {matchLabels: {only: %[1]s}}
  policyRefs: [{kind: ConfigMap, namespace: default, name: %[1]s}]
`, name), "apply", "-f", "-")
}

// awaitKey waits until a profile and its revision are stored, encrypted with a
// key.
func (i *installation) awaitKey(client *clientv3.Client, key, what, profile string) {
	i.Helper()
	i.eventually(what+" are encrypted with "+key, func(ctx context.Context) error {
		if err := keyUsed(ctx, client, "config.projectsveltos.io/clusterprofiles/"+profile, key); err != nil {
			return err
		}
		return keyUsed(ctx, client, "records/heads/revisions/ClusterProfile/_/"+profile, key)
	})
}

// keyUsed says whether something is stored at a path or below it, and all of it
// is encrypted with a key.
func keyUsed(ctx context.Context, client *clientv3.Client, path, key string) error {
	found, err := client.Get(ctx, storagePrefix+path, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	if len(found.Kvs) == 0 {
		return fmt.Errorf("nothing is stored at %s", path)
	}
	for _, kv := range found.Kvs {
		if !bytes.HasPrefix(kv.Value, []byte("k8s:enc:aescbc:v1:"+key+":")) {
			return fmt.Errorf("%s is %.30q", kv.Key, kv.Value)
		}
	}
	return nil
}
