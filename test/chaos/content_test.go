// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/generated/clientset/versioned"
	"github.com/muster-project/muster/test/fleet"
)

const (
	// name is that of everything that the tests make: the namespace of the
	// registrations and the source, the set, the profile and its content.
	name = "chaos"
	// contentNamespace is where content goes: a namespace that all clusters have.
	contentNamespace = "default"
	// sourceKey is where the source has the manifest of the content.
	sourceKey = "content.yaml"
)

// deploy registers both clusters, and has a profile deploy to the one that a set
// selects.
func (e *environment) deploy(t *testing.T) {
	t.Helper()
	for _, c := range e.fleet.Clusters() {
		if err := e.fleet.RegisterManaged(t.Context(), name, c.Name(), map[string]string{"env": name}); err != nil {
			t.Fatal(err)
		}
	}
	e.change(t, "first")
	e.apply(t, `
apiVersion: lib.projectsveltos.io/v1beta1
kind: ClusterSet
metadata: {name: %[1]s}
spec:
  clusterSelector: {matchLabels: {env: %[1]s}}
  maxReplicas: 1
---
apiVersion: config.projectsveltos.io/v1beta1
kind: ClusterProfile
metadata: {name: %[1]s}
spec:
  setRefs: [%[1]s]
  policyRefs: [{kind: ConfigMap, namespace: %[1]s, name: %[1]s}]
`, name)
	e.awaitSettled(t, "first")
}

// change changes the source of the content.
func (e *environment) change(t *testing.T, content string) {
	t.Helper()
	if err := e.tryChange(t.Context(), content); err != nil {
		t.Fatal(err)
	}
}

func (e *environment) tryChange(ctx context.Context, content string) error {
	_, err := e.fleet.Host.Kubectl().Input(ctx, fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {namespace: %[1]s, name: %[1]s}
data:
  %[4]s: |
    apiVersion: v1
    kind: ConfigMap
    metadata: {namespace: %[2]s, name: %[1]s}
    data: {content: %[3]q}
`, name, contentNamespace, content, sourceKey), "apply", "--server-side", "-f", "-")
	return err
}

// content is what a cluster has, empty if it has none.
func (e *environment) content(ctx context.Context, cluster string) (string, error) {
	found, err := e.managed[cluster].CoreV1().ConfigMaps(contentNamespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return found.Data["content"], nil
}

// has is a check that a cluster has this content.
func (e *environment) has(cluster, want string) func(context.Context) error {
	return func(ctx context.Context) error {
		found, err := e.content(ctx, cluster)
		if err == nil && found != want {
			err = fmt.Errorf("%s has %q, want %q", cluster, found, want)
		}
		return err
	}
}

// active is the cluster that has the content; an error unless it is exactly one.
func (e *environment) active(ctx context.Context) (string, error) {
	var active []string
	for cluster := range e.managed {
		found, err := e.content(ctx, cluster)
		if err != nil {
			return "", err
		}
		if found != "" {
			active = append(active, cluster)
		}
	}
	if len(active) != 1 {
		return "", fmt.Errorf("content is on %q, want one cluster", active)
	}
	return active[0], nil
}

// settled checks that both clusters are ready, and that the one that the set
// selects, and no other, has this content.
func (e *environment) settled(content string) func(context.Context) error {
	return func(ctx context.Context) error {
		client, err := e.anyReplica()
		if err != nil {
			return err
		}
		for cluster := range e.managed {
			found, err := client.LibV1beta1().SveltosClusters(name).Get(ctx, cluster, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if !found.Status.Ready {
				return fmt.Errorf("%s is not ready", cluster)
			}
		}
		active, err := e.active(ctx)
		if err != nil {
			return err
		}
		set, err := client.LibV1beta1().ClusterSets().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if refs := set.Status.SelectedClusterRefs; len(refs) != 1 || refs[0].Name != active {
			return fmt.Errorf("selected is %v, content is on %s", refs, active)
		}
		return e.has(active, content)(ctx)
	}
}

func (e *environment) awaitSettled(t *testing.T, content string) time.Duration {
	t.Helper()
	return eventually(t, "everything is as it should be", convergence, e.settled(content))
}

// anyReplica is a client of a replica that runs. None may be paused.
func (e *environment) anyReplica() (versioned.Interface, error) {
	for _, replica := range e.fleet.Muster.Replicas() {
		if replica.Running() {
			return e.replicas[replica.Name()], nil
		}
	}
	return nil, errors.New("no replica runs")
}

// leader is the replica that leads, once there is one whose controllers run.
func (e *environment) leader(t *testing.T) *fleet.Server {
	t.Helper()
	var leader *fleet.Server
	eventually(t, "somebody leads", takeoverLimit, func(ctx context.Context) error {
		var err error
		if leader, err = e.fleet.Muster.Leader(ctx); err != nil {
			return err
		}
		return e.leads(ctx, leader, true)
	})
	return leader
}

var leaderMetric = regexp.MustCompile(`(?m)^muster_leader (\d)$`)

// leads checks what a replica itself says, in its metrics.
func (e *environment) leads(ctx context.Context, replica *fleet.Server, want bool) error {
	metrics, err := e.replicas[replica.Name()].Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(ctx)
	if err != nil {
		return fmt.Errorf("metrics of %s: %w", replica.Name(), err)
	}
	match := leaderMetric.FindSubmatch(metrics)
	if match == nil {
		return fmt.Errorf("%s has no metric that says whether it leads", replica.Name())
	}
	if leads := string(match[1]) == "1"; leads != want {
		return fmt.Errorf("%s leads: %t, want %t", replica.Name(), leads, want)
	}
	return nil
}

// awaitTakeover waits until another replica leads, and says how long it took
// since the fault until it had the Lease, and until its controllers ran.
func (e *environment) awaitTakeover(t *testing.T, former *fleet.Server, struck time.Time) (leader *fleet.Server) {
	t.Helper()
	var held time.Duration
	eventually(t, "another replica than "+former.Name()+" leads", takeoverLimit, func(ctx context.Context) error {
		now, err := e.fleet.Muster.Leader(ctx)
		if err != nil {
			return err
		}
		if now == former {
			return errors.New("the lease is still the former leader's")
		}
		if leader == nil {
			held = time.Since(struck)
		}
		leader = now
		return e.leads(ctx, leader, true)
	})
	t.Logf("%s took over from %s: lease_s=%.2f takeover_s=%.2f", leader.Name(), former.Name(), held.Seconds(), time.Since(struck).Seconds())
	return leader
}

// views is what users see, as one replica serves it, without what may differ
// between two reads of the same state.
func (e *environment) views(ctx context.Context, replica string) (string, error) {
	client := e.replicas[replica]
	selection, err := client.LibV1beta1().ClusterSets().GetSelection(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("selection by %s: %w", replica, err)
	}
	addons, err := client.ConfigV1beta1().Addons("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("addons by %s: %w", replica, err)
	}
	summaries, err := client.ConfigV1beta1().ClusterSummaries("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("summaries by %s: %w", replica, err)
	}
	rows := []string{fmt.Sprintf("selected %v, candidates %v, counts %v", selection.Selected, selection.Candidates, selection.Counts)}
	for _, addon := range addons.Items {
		rows = append(rows, fmt.Sprintf("addon %s/%s: %s %s/%s of %v", addon.Cluster.Namespace, addon.Cluster.Name, addon.ResourceType, addon.Namespace, addon.Name, addon.Profiles))
	}
	for _, summary := range summaries.Items {
		rows = append(rows, fmt.Sprintf("summary %s %s", summary.Name, summary.UID))
	}
	slices.Sort(rows[1:])
	return strings.Join(rows, "\n"), nil
}

// expectDiffs sees to it that every replica says what the profile would change, those
// that follow too, which have no controllers that know the clusters.
func (e *environment) expectDiffs(t *testing.T) {
	t.Helper()
	for replica, client := range e.replicas {
		diff := &configv1beta1.Diff{}
		raw, err := client.ConfigV1beta1().RESTClient().Get().Resource("clusterprofiles").Name(name).SubResource("diff").
			SetHeader("Accept", "application/json").DoRaw(t.Context())
		if err == nil {
			err = json.Unmarshal(raw, diff)
		}
		if err != nil || len(diff.Clusters) != 1 || len(diff.Clusters[0].Resources) != 1 || diff.Clusters[0].Resources[0].Action != string(deploy.ActionNone) {
			t.Errorf("the profile is deployed, and %s says that it would change %s, %v", replica, raw, err)
		}
	}
}

// uids are those of all that users have made, and of what was made for them.
func (e *environment) uids(t *testing.T) string {
	t.Helper()
	var result fleet.Result
	// A host that was restarted takes a moment to find Muster available.
	eventually(t, "all objects can be read through the host", convergence, func(ctx context.Context) (err error) {
		result, err = e.fleet.Kubectl(ctx, "get", "sveltosclusters,clustersets,clusterprofiles,clustersummaries", "-A",
			"-o", "jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.uid} {.metadata.creationTimestamp}{\"\\n\"}{end}")
		return err
	})
	return result.Stdout
}
