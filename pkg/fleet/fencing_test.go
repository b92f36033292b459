// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/muster-project/muster/pkg/fleet/fence"
)

func TestEveryWriteThroughAFenceSaysWhoseItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := &fenced{}
		l := cluster.leader(t, "a", 7)
		if _, err := l.send(t, Identity{}, http.MethodGet); err != nil || len(cluster.objects) > 0 {
			t.Fatalf("a read: %v, and it raises %v", err, cluster.objects)
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			if code, err := l.send(t, Identity{}, method); err != nil || code != http.StatusOK {
				t.Errorf("%s: %d, %v", method, code, err)
			}
		}
		if _, err := l.send(t, Identity{"team", "deployer"}, http.MethodPost); err != nil {
			t.Error(err)
		}
		if _, err := l.send(t, Identity{}, http.MethodGet); err != nil {
			t.Error(err)
		}
		myself := map[string][]string{
			"Impersonate-User": {"muster"}, "Impersonate-Group": {"deployers"},
			"Impersonate-Extra-Muster.projectsveltos.io%2fepoch": {"7"},
		}
		tenant := map[string][]string{
			"Impersonate-User": {"system:serviceaccount:team:deployer"},
			"Impersonate-Extra-Muster.projectsveltos.io%2fepoch": {"7"},
		}
		nobody := map[string][]string{}
		want := []map[string][]string{nobody, myself, myself, myself, myself, tenant, nobody}
		var got []map[string][]string
		for _, req := range cluster.from() {
			got = append(got, impersonation(req.Header))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if cluster.epoch() != 7 || cluster.proofs != 1 || !slices.Equal(l.reports, []string{"<nil>"}) {
			t.Errorf("the fence has epoch %d after %d proofs, reported: %q", cluster.epoch(), cluster.proofs, l.reports)
		}
		version := cluster.version
		if err := l.Fence(t.Context(), ref("a")); err != nil || cluster.version != version {
			t.Errorf("raised again: %v, and written %d times", err, cluster.version-version)
		}
		delete(cluster.objects, bindings+"/"+fence.Name)
		if err := l.Fence(t.Context(), ref("a")); err != nil || cluster.epoch() != 7 {
			t.Errorf("raised after somebody took it away: %v, epoch %d", err, cluster.epoch())
		}
	})
}

func TestAFenceIsOnlyEverRaised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := &fenced{}
		former, latter := cluster.leader(t, "a", 7), cluster.leader(t, "a", 9)
		if err := former.Fence(t.Context(), ref("a")); err != nil {
			t.Fatal(err)
		}
		if err := latter.Fence(t.Context(), ref("a")); err != nil || cluster.epoch() != 9 {
			t.Fatalf("%v, epoch %d", err, cluster.epoch())
		}
		if code, _ := former.send(t, Identity{}, http.MethodDelete); code != http.StatusUnprocessableEntity {
			t.Errorf("the former leader is answered %d", code)
		}
		if err := former.Fence(t.Context(), ref("a")); !errors.Is(err, fence.ErrLater) || !errors.Is(err, ErrNotFenced) {
			t.Errorf("the former leader raises it: %v", err)
		}
		former.wanted = false // it has not heard that there is another leader
		if err := former.Unfence(t.Context(), ref("a")); !errors.Is(err, fence.ErrLater) {
			t.Errorf("the former leader removes it: %v", err)
		}
		if cluster.epoch() != 9 {
			t.Errorf("the epoch is %d", cluster.epoch())
		}
	})
}

// TestRacesForAFence: whatever happens between a leader's look and its write, a
// later leader's fence stays.
func TestRacesForAFence(t *testing.T) {
	for name, test := range map[string]struct {
		method  string
		prepare func(*leader) error
	}{
		"both make it":                  {method: http.MethodPost},
		"both raise it":                 {method: http.MethodPut, prepare: func(l *leader) error { return l.Fence(context.Background(), ref("a")) }},
		"one removes, the other raises": {method: http.MethodDelete, prepare: func(l *leader) error { return l.Fence(context.Background(), ref("a")) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cluster := &fenced{}
				oldest, former, latter := cluster.leader(t, "a", 6), cluster.leader(t, "a", 7), cluster.leader(t, "a", 9)
				if test.prepare != nil {
					if err := test.prepare(oldest); err != nil {
						t.Fatal(err)
					}
				}
				raced := false
				cluster.before = func(req *http.Request) {
					if req.Method != test.method || !strings.HasPrefix(req.URL.Path, policies) || raced {
						return
					}
					raced = true
					if err := latter.Fence(t.Context(), ref("a")); err != nil {
						t.Error(err)
					}
				}
				change := former.Fence
				if test.method == http.MethodDelete {
					former.wanted, change = false, former.Unfence
				}
				if err := change(t.Context(), ref("a")); err == nil || !raced {
					t.Errorf("the former leader succeeds, raced: %t", raced)
				}
				if cluster.epoch() != 9 {
					t.Errorf("the epoch is %d", cluster.epoch())
				}
			})
		})
	}
}

func TestWithoutAFenceThatIsWantedNothingIsWritten(t *testing.T) {
	missing := func(resource string, answer *apierrors.StatusError) func(*http.Request) *metav1.Status {
		return func(req *http.Request) *metav1.Status {
			if strings.HasSuffix(req.URL.Path, resource) && req.Method == http.MethodPost {
				return &answer.ErrStatus
			}
			return nil
		}
	}
	nothing := apierrors.NewNotFound(schema.GroupResource{}, "")
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "them"}, "", errors.New("no"))
	for name, test := range map[string]struct {
		cluster *fenced
		is      func(error) bool
	}{
		"no policies":             {&fenced{refuse: missing("policies", nothing)}, is(fence.ErrNotServed)},
		"no bindings":             {&fenced{refuse: missing("bindings", nothing)}, is(fence.ErrNotServed)},
		"no reviews":              {&fenced{refuse: missing("reviews", nothing)}, is(fence.ErrNotServed)},
		"policies forbidden":      {&fenced{refuse: missing("policies", forbidden)}, apierrors.IsForbidden},
		"impersonation forbidden": {&fenced{refuse: missing("configmaps", forbidden)}, apierrors.IsForbidden},
		"policies not obeyed":     {&fenced{deaf: true}, is(fence.ErrNotObeyed)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := test.cluster.leader(t, "a", 7)
				for range 2 { // the second is refused without asking
					if _, err := l.send(t, Identity{}, http.MethodDelete); !errors.Is(err, ErrNotFenced) || !test.is(err) {
						t.Errorf("a write: %v", err)
					}
				}
				if len(l.reports) != 1 || l.reports[0] == "<nil>" || len(test.cluster.from()) > 0 {
					t.Errorf("reported %q, or something was written", l.reports)
				}
				if _, err := l.send(t, Identity{}, http.MethodGet); err != nil {
					t.Errorf("a read: %v", err)
				}
				l.wanted = false
				if code, err := l.send(t, Identity{}, http.MethodDelete); err != nil || code != http.StatusOK {
					t.Errorf("a write when no fence is wanted any more: %d, %v", code, err)
				}
				l.wanted = true
				test.cluster.refuse, test.cluster.deaf = nil, false
				if err := l.Fence(t.Context(), ref("a")); err != nil {
					t.Errorf("when it is mended: %v", err)
				}
				if _, err := l.send(t, Identity{}, http.MethodDelete); err != nil {
					t.Errorf("a write when it is mended: %v", err)
				}
			})
		})
	}
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func TestWhatIsAnothersIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := &fenced{}
		if err := cluster.leader(t, "another", 3).Fence(t.Context(), ref("a")); err != nil {
			t.Fatal(err)
		}
		l := cluster.leader(t, "a", 7)
		if _, err := l.send(t, Identity{}, http.MethodPost); !errors.Is(err, fence.ErrForeign) {
			t.Errorf("a write: %v", err)
		}
		l.wanted = false
		if err := l.Unfence(t.Context(), ref("a")); err != nil || len(cluster.objects) != 2 {
			t.Errorf("removed: %v, %d objects are left", err, len(cluster.objects))
		}
	})
}

func TestAFenceIsRemovedWhereNoneIsWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster := &fenced{}
		l := cluster.leader(t, "a", 7)
		for range 2 {
			if err := l.Fence(t.Context(), ref("a")); err != nil {
				t.Fatal(err)
			}
			if err := l.Unfence(t.Context(), ref("a")); err != nil || len(cluster.objects) != 2 {
				t.Errorf("while one is wanted: %v, %d objects are left", err, len(cluster.objects))
			}
			l.wanted = false
			if err := l.Unfence(t.Context(), ref("a")); err != nil || len(cluster.objects) != 0 {
				t.Errorf("%v, %d objects are left", err, len(cluster.objects))
			}
			if err := l.Unfence(t.Context(), ref("a")); err != nil {
				t.Errorf("again: %v", err)
			}
			l.wanted = true
		}
		if _, err := l.send(t, Identity{}, http.MethodPost); err != nil || cluster.epoch() != 7 {
			t.Errorf("a write when one is wanted again: %v, epoch %d", err, cluster.epoch())
		}
	})
}
