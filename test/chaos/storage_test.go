// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/storage/identity"
	"github.com/muster-project/muster/test/fleet"
)

const (
	// undone is a profile that a restore brings back, later one that it does not
	// know.
	undone, later = "undone", "later"
	// afterBackup is the content of a source that was changed after the backup.
	afterBackup = "after the backup"
	// othersTrust is for how long a record of trusted storage speaks for other
	// servers, so that one whose storage is held is not ready.
	othersTrust = 75 * time.Second
)

// testRestore walks through docs/operations.md: a backup of an installation that
// goes on, which is restored. patient waits for as long as people need for that;
// otherwise the record of the storage is made older.
func (e *environment) testRestore(t *testing.T, patient bool) {
	guide := readGuide(t)
	e.profile(t, undone)
	e.awaitEverywhere(t, undone, true)
	before := e.uids(t)
	file := e.backUp(t, guide)

	kept := e.changeAfterBackup(t)
	stopped := e.stopEverything(t)
	t.Log("step=stopped")
	e.restoreFirstMember(t, guide, file)
	t.Log("step=restored")
	e.letRecordAge(t, patient)
	replica := e.fleet.Muster.Replica(e.random.IntN(2 * replicas))
	if err := replica.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.expectHeld(t, identity.Restored)
	e.expectUntouched(t, stopped)
	t.Log("step=held")
	if now := e.contentUIDs(t, name, later); now != kept {
		t.Errorf("while storage is held there is %s, was %s", now, kept)
	}

	e.confirmRestored(t, guide)
	if now := e.uids(t); now != before {
		t.Errorf("there is\n%s\nat the backup there was\n%s", now, before)
	}
	e.expectNoDeletes(t, stopped)
	e.profile(t, later) // is adopted, and nothing is made anew
	e.awaitManaged(t, later)
	if now := e.contentUIDs(t, name, later); now != kept {
		t.Errorf("after the restore there is %s, was %s", now, kept)
	}
	for _, profile := range []string{undone, later} {
		e.deleteProfile(t, profile)
		e.awaitEverywhere(t, profile, false)
	}
	e.awaitSettled(t, afterBackup)
}

// changeAfterBackup deletes a profile, makes another one and changes a source. It
// returns the UIDs of what has to stay through a restore.
func (e *environment) changeAfterBackup(t *testing.T) (kept string) {
	t.Helper()
	e.deleteProfile(t, undone)
	e.awaitEverywhere(t, undone, false)
	e.profile(t, later)
	e.awaitEverywhere(t, later, true)
	e.change(t, afterBackup)
	e.awaitSettled(t, afterBackup)
	return e.contentUIDs(t, name, later)
}

// confirmRestored accepts what was restored, and waits until it is deployed.
func (e *environment) confirmRestored(t *testing.T, guide *guide) {
	t.Helper()
	confirmed := time.Now()
	result, err := e.fleet.Kubectl(t.Context(), append(guide.confirm, "--yes")...)
	if err != nil || !strings.Contains(result.Stdout, string(identity.Restored)) {
		t.Fatalf("confirm-storage: %v\n%s", err, result.Stdout)
	}
	e.awaitSettled(t, afterBackup)
	e.awaitEverywhere(t, undone, true)
	t.Logf("everything is as the backup says %.2f s after it was confirmed", time.Since(confirmed).Seconds())
}

// backUp makes a backup as the guide says, from a random member.
func (e *environment) backUp(t *testing.T, guide *guide) (file string) {
	t.Helper()
	out, err := e.fleet.Muster.RunInMember(t.Context(), e.random.IntN(len(e.fleet.Muster.Members())), guide.backup)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "muster.db")
	if err := os.WriteFile(file, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// stopEverything scales servers and members to none, all at once, and says when
// all had ended.
func (e *environment) stopEverything(t *testing.T) time.Time {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), gracePeriod)
	defer cancel()
	var ending errgroup.Group
	running, _ := e.running()
	for _, server := range append(running, e.fleet.Muster.Members()...) {
		ending.Go(func() error { return server.Stop(ctx) })
	}
	if err := ending.Wait(); err != nil {
		t.Fatal(err)
	}
	return time.Now()
}

// restoreFirstMember gives members new volumes, on which they wait, and then
// restores the first one, which the others join.
func (e *environment) restoreFirstMember(t *testing.T, guide *guide, file string) {
	t.Helper()
	if _, err := e.fleet.Host.Kubectl().Input(t.Context(), guide.job, "apply", "--dry-run=server", "-f", "-"); err != nil {
		t.Errorf("the Job of docs/operations.md: %v", err)
	}
	muster := e.fleet.Muster
	var starting errgroup.Group
	for i, member := range muster.Members() {
		if err := muster.SetVolumeAside(i); err != nil {
			t.Fatal(err)
		}
		starting.Go(func() error { return member.StartUnready(t.Context(), "data is gone") })
	}
	if err := starting.Wait(); err != nil {
		t.Fatal(err)
	}
	e.stopMembers(t)
	i := slices.IndexFunc(guide.restore, func(argument string) bool { return strings.HasPrefix(argument, "--file=") })
	if i < 0 {
		t.Fatalf("docs/operations.md restores with %q, without a file", guide.restore)
	}
	out, err := muster.RunInMember(t.Context(), 0, guide.restore, strings.TrimPrefix(guide.restore[i], "--file="), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", out)
	e.startMembers(t)
	for i := range muster.Members() {
		if err := muster.DiscardVolumeAside(i); err != nil {
			t.Fatal(err)
		}
	}
}

func (e *environment) stopMembers(t *testing.T) {
	t.Helper()
	var ending errgroup.Group
	for _, member := range e.fleet.Muster.Members() {
		ending.Go(func() error { return member.Stop(t.Context()) })
	}
	if err := ending.Wait(); err != nil {
		t.Fatal(err)
	}
}

func (e *environment) startMembers(t *testing.T) {
	t.Helper()
	var starting errgroup.Group
	for _, member := range e.fleet.Muster.Members() {
		starting.Go(func() error { return member.Start(t.Context()) })
	}
	if err := starting.Wait(); err != nil {
		t.Fatal(err)
	}
}

// letRecordAge waits until no server that has ended counts as one that trusts its
// storage, or makes it so.
func (e *environment) letRecordAge(t *testing.T, patient bool) {
	t.Helper()
	if patient {
		pause(t, othersTrust)
		return
	}
	old := time.Now().Add(-2 * othersTrust).UTC().Format(time.RFC3339)
	if _, err := e.fleet.Kubectl(t.Context(), "patch", "configmap", identity.ConfigMapName, "--namespace="+fleet.Namespace,
		"--type=merge", "--patch", fmt.Sprintf(`{"data":{"renewed":%q}}`, old)); err != nil {
		t.Fatal(err)
	}
}

// contentUIDs are those of ConfigMaps by these names in managed clusters.
func (e *environment) contentUIDs(t *testing.T, names ...string) string {
	t.Helper()
	var found []string
	for cluster, client := range e.managed {
		for _, name := range names {
			content, err := client.CoreV1().ConfigMaps(contentNamespace).Get(t.Context(), name, metav1.GetOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				t.Fatal(err)
			}
			if err == nil {
				found = append(found, fmt.Sprintf("%s/%s %s", cluster, name, content.UID))
			}
		}
	}
	slices.Sort(found)
	return strings.Join(found, ", ")
}

// profile has a profile of that name deploy a ConfigMap of that name to all
// clusters.
func (e *environment) profile(t *testing.T, profile string) {
	t.Helper()
	e.apply(t, `
apiVersion: v1
kind: ConfigMap
metadata: {namespace: %[1]s, name: %[2]s}
data:
  content.yaml: |
    apiVersion: v1
    kind: ConfigMap
    metadata: {namespace: %[3]s, name: %[2]s}
    data: {by: %[2]s}
---
apiVersion: config.projectsveltos.io/v1beta1
kind: ClusterProfile
metadata: {name: %[2]s}
spec:
  clusterSelector: {matchLabels: {env: %[1]s}}
  policyRefs: [{kind: ConfigMap, namespace: %[1]s, name: %[2]s}]
`, name, profile, contentNamespace)
}

func (e *environment) deleteProfile(t *testing.T, profile string) {
	t.Helper()
	if _, err := e.fleet.Kubectl(t.Context(), "delete", "clusterprofile", profile, "--wait=false"); err != nil {
		t.Fatal(err)
	}
}

// awaitEverywhere waits until all clusters have what a profile deploys, or none.
func (e *environment) awaitEverywhere(t *testing.T, profile string, there bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s is on all clusters: %t", profile, there), convergence, func(ctx context.Context) error {
		for cluster, client := range e.managed {
			_, err := client.CoreV1().ConfigMaps(contentNamespace).Get(ctx, profile, metav1.GetOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				return err
			}
			if (err == nil) != there {
				return fmt.Errorf("%s has %s: %t", cluster, profile, err == nil)
			}
		}
		return nil
	})
}

// awaitManaged waits until an inventory has what a profile deploys to each cluster.
func (e *environment) awaitManaged(t *testing.T, profile string) {
	t.Helper()
	eventually(t, "the inventories have "+profile, convergence, func(ctx context.Context) error {
		client, err := e.anyReplica()
		if err != nil {
			return err
		}
		addons, err := client.ConfigV1beta1().Addons("").List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		owned := 0
		for _, addon := range addons.Items {
			if addon.Name == profile && addon.Namespace == contentNamespace && slices.Equal(addon.Profiles, []string{"ClusterProfile/" + profile}) {
				owned++
			}
		}
		if owned != len(e.managed) {
			return fmt.Errorf("those of %d clusters have", owned)
		}
		return nil
	})
}
