// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/generated/clientset/versioned"
	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/pkg/storage/identity"
	"github.com/muster-project/muster/pkg/storage/records"
	"github.com/muster-project/muster/test/fleet"
)

// heldFor is how long held storage is looked at.
const heldFor = time.Second

// testWiped takes the volumes of all members from under a replica that runs. It
// finds nothing, and then another installation's data, and does nothing about
// either. It goes on when the volumes are back.
func (e *environment) testWiped(t *testing.T) {
	before, kept := e.uids(t), e.contentUIDs(t, name)
	muster := e.fleet.Muster
	taken := time.Now()
	e.killMembers(t)
	for i := range muster.Members() {
		if err := muster.SetVolumeAside(i); err != nil {
			t.Fatal(err)
		}
	}
	e.forgetMembers(t) // or they would wait for their data
	e.startMembers(t)
	e.expectHeld(t, identity.Wiped)
	t.Log("step=wiped")
	e.putAnothersData(t)
	e.expectHeld(t, identity.Foreign)
	t.Log("step=foreign")
	e.expectUntouched(t, taken)
	if now := e.contentUIDs(t, name); now != kept {
		t.Errorf("while storage is held there is %s, was %s", now, kept)
	}

	e.killMembers(t)
	for i := range muster.Members() {
		if err := muster.PutVolumeBack(i); err != nil {
			t.Fatal(err)
		}
	}
	e.forgetMembers(t)
	e.startMembers(t)
	back := time.Now()
	e.restartEnded(t)
	e.change(t, "after the right etcd is back")
	e.awaitSettled(t, "after the right etcd is back")
	t.Logf("everything is as it was %.2f s after the right etcd was back", time.Since(back).Seconds())
	if now := e.uids(t); now != before {
		t.Errorf("there is\n%s\nthere was\n%s", now, before)
	}
	e.expectNoDeletes(t, taken)
}

// killMembers ends all members at once: in an orderly end, each would look for
// another one to lead.
func (e *environment) killMembers(t *testing.T) {
	t.Helper()
	for _, member := range e.fleet.Muster.Members() {
		if err := member.Kill(); err != nil {
			t.Fatal(err)
		}
	}
}

// forgetMembers deletes what says that a cluster of etcd was begun.
func (e *environment) forgetMembers(t *testing.T) {
	t.Helper()
	if err := e.host.CoreV1().ConfigMaps(fleet.Namespace).Delete(t.Context(), "muster-etcd", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// putAnothersData stores in etcd what another installation would have there.
func (e *environment) putAnothersData(t *testing.T) {
	t.Helper()
	dir := e.fleet.Muster.CertificatesDir()
	client, err := etcd.NewClient(t.Context(), etcd.ClientConfig{
		Endpoints: []string{"https://" + e.fleet.Muster.Member(0).Address()},
		CAFile:    filepath.Join(dir, "ca.crt"), CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"),
	})
	if err != nil {
		t.Fatal(err)
	}
	mark, err := identity.Mark{ID: string(uuid.NewUUID()), NamespaceUID: uuid.NewUUID()}.Encode()
	prefix := path.Join(records.Root, "default")
	if err == nil {
		_, err = client.Txn(t.Context()).Then(clientv3.OpPut(prefix+"/installation", mark), clientv3.OpPut(prefix+"/epoch", "1")).Commit()
	}
	if err := errors.Join(err, client.Close()); err != nil {
		t.Fatal(err)
	}
}

// restartEnded starts replicas that end because they have to read everything anew,
// as a kubelet does.
func (e *environment) restartEnded(t *testing.T) {
	t.Helper()
	running, _ := e.running()
	var restarting errgroup.Group
	for _, replica := range running {
		eventually(t, replica.Name()+" ends", takeoverLimit, func(context.Context) error {
			if replica.Running() {
				return errors.New("it runs")
			}
			return nil
		})
		restarting.Go(func() error { return replica.Start(t.Context()) })
	}
	if err := restarting.Wait(); err != nil {
		t.Fatal(err)
	}
}

// expectHeld waits until the API says that storage is held for that reason, and
// then sees to it that it says nothing else for a while, and that nobody leads.
func (e *environment) expectHeld(t *testing.T, reason identity.Reason) {
	t.Helper()
	config, err := e.fleet.Host.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := versioned.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	questions := heldQuestions(client)
	e.touchAPIServices(t)
	eventually(t, "storage is held as "+string(reason), convergence, func(ctx context.Context) error {
		// The host finds each API group available again at a time of its own.
		for what, ask := range questions {
			if err := heldAs(reason, ask(ctx)); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), heldFor)
	defer cancel()
	asked := 0
	for ctx.Err() == nil {
		for what, ask := range questions {
			if err := heldAs(reason, ask(t.Context())); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			asked++
		}
		pause(t, 100*time.Millisecond)
	}
	if _, err := e.fleet.Kubectl(t.Context(), "api-resources", "--api-group=lib.projectsveltos.io"); err != nil {
		t.Errorf("discovery while storage is held: %v", err)
	}
	running, _ := e.running()
	for _, replica := range running {
		if err := e.leads(t.Context(), replica, false); err != nil {
			t.Error(err)
		}
	}
	t.Logf("reason=%s, %d questions", reason, asked)
}

// touchAPIServices has the host look at once whether Muster answers. After an
// outage it does so by itself, but up to half a minute later.
func (e *environment) touchAPIServices(t *testing.T) {
	t.Helper()
	if _, err := e.fleet.Kubectl(t.Context(), "annotate", "apiservice", "--selector=app.kubernetes.io/name=muster", "--overwrite",
		"chaos.example.org/touched="+time.Now().Format("150405.000000")); err != nil {
		t.Fatal(err)
	}
}

// heldQuestions are requests of each kind, also for what is not there.
func heldQuestions(client versioned.Interface) map[string]func(context.Context) error {
	sets, profiles := client.LibV1beta1().ClusterSets(), client.ConfigV1beta1().ClusterProfiles()
	return map[string]func(context.Context) error{
		"list": func(ctx context.Context) error { _, err := sets.List(ctx, metav1.ListOptions{}); return err },
		"list from the cache": func(ctx context.Context) error {
			_, err := profiles.List(ctx, metav1.ListOptions{ResourceVersion: "0"})
			return err
		},
		"get":                     func(ctx context.Context) error { _, err := sets.Get(ctx, name, metav1.GetOptions{}); return err },
		"get what was never made": func(ctx context.Context) error { _, err := profiles.Get(ctx, "no", metav1.GetOptions{}); return err },
		"selection": func(ctx context.Context) error {
			_, err := sets.GetSelection(ctx, name, metav1.GetOptions{})
			return err
		},
		"addons": func(ctx context.Context) error {
			_, err := client.ConfigV1beta1().Addons("").List(ctx, metav1.ListOptions{})
			return err
		},
		"watch": func(ctx context.Context) error {
			watcher, err := profiles.Watch(ctx, metav1.ListOptions{})
			if err == nil {
				watcher.Stop()
			}
			return err
		},
		"create": func(ctx context.Context) error {
			_, err := sets.Create(ctx, &libv1beta1.ClusterSet{ObjectMeta: metav1.ObjectMeta{Name: "held"}}, metav1.CreateOptions{})
			return err
		},
		"delete": func(ctx context.Context) error { return profiles.Delete(ctx, name, metav1.DeleteOptions{}) },
	}
}

// heldAs checks that an answer is 503 with that reason.
func heldAs(reason identity.Reason, answer error) error {
	got, _, held := identity.FromStatus(answer)
	switch {
	case !held || !apierrors.IsServiceUnavailable(answer):
		return fmt.Errorf("the answer is not that storage is held: %v", answer)
	case got != reason:
		return fmt.Errorf("storage is held as %s, want %s", got, reason)
	}
	return nil
}

// since are writes by anybody but the control plane itself and this test, from a
// moment on.
func (e *environment) since(t *testing.T, from time.Time, keep func(*auditv1.Event) bool) []string {
	t.Helper()
	var found []string
	for _, c := range append(e.fleet.Clusters(), e.fleet.Host) {
		events, err := c.AuditEvents(func(event *auditv1.Event) bool {
			return fleet.IsWrite(event) && event.RequestReceivedTimestamp.After(from) && !isReview(event) && keep(event)
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range events {
			found = append(found, fmt.Sprintf("%s: %s %s by %s (%s)", c.Name(), event.Verb, event.RequestURI, event.User.Username, event.UserAgent))
		}
	}
	return found
}

// expectUntouched sees to it that no controller has written anything anywhere, and
// that no server of Muster's has, but for the record of the storage and the Lease.
func (e *environment) expectUntouched(t *testing.T, from time.Time) {
	t.Helper()
	for _, write := range e.since(t, from, func(event *auditv1.Event) bool {
		record := event.ObjectRef != nil && event.ObjectRef.Resource == "configmaps" && event.ObjectRef.Name == identity.ConfigMapName
		// Who led goes on to hold the Lease until its term has ended.
		lease := event.ObjectRef != nil && event.ObjectRef.Resource == "leases"
		return strings.HasPrefix(event.UserAgent, "muster") && strings.HasSuffix(event.User.Username, "muster") && !record && !lease
	}) {
		t.Errorf("while nobody could know better: %s", write)
	}
}

// expectNoDeletes sees to it that Muster has withdrawn nothing.
func (e *environment) expectNoDeletes(t *testing.T, from time.Time) {
	t.Helper()
	for _, write := range e.since(t, from, func(event *auditv1.Event) bool {
		return strings.HasPrefix(event.Verb, "delete") && userAgent.MatchString(event.UserAgent)
	}) {
		t.Errorf("withdrawn: %s", write)
	}
}
