// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package histories

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/deploy/history"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/registry/config/clusterprofile"
	"github.com/muster-project/muster/pkg/storage/records/recordstest"
)

var (
	owner = revision.Owner{Kind: "ClusterProfile", Name: "web"}
	start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// specs has a spec for each revision, with its name in it.
type specs struct{}

func (specs) Get(_ context.Context, name string) (*config.ProfileSpec, error) {
	return &config.ProfileSpec{SetRefs: []string{name}}, nil
}

// secrets are what the Secrets of a host hold.
type secrets map[string]history.Content

func (s secrets) get(_ context.Context, namespace, name string) (history.Content, error) {
	if content, ok := s[namespace+"/"+name]; ok {
		return content, nil
	}
	if namespace == "elsewhere" {
		return history.Content{}, apierrors.NewForbidden(corev1.Resource("secrets"), name, errors.New("no"))
	}
	return history.Content{}, apierrors.NewNotFound(corev1.Resource("secrets"), name)
}

func holding(value string) history.Content {
	return history.Content{Data: map[string][]byte{"x": []byte(value)}}
}

func read(kind, namespace, name, value string) history.Observed {
	return history.Observed{Key: history.Key{Kind: kind, Namespace: namespace, Name: name}, Content: holding(value)}
}

func newHistories(t *testing.T, host secrets, reports ...history.Report) *Histories {
	t.Helper()
	memory := recordstest.New()
	store := history.NewStore(memory, 10)
	for i, report := range reports {
		entry := history.Entry{Revision: report.Revision, Spec: report.Spec, Cause: history.CauseSpec, Time: start.Add(time.Duration(i) * time.Hour)}
		if _, err := store.Begin(t.Context(), owner, entry, func(context.Context) string { return "alice" }, nil); err != nil {
			t.Fatal(err)
		}
		for _, cluster := range []string{"two", "one"} {
			ref := fleet.Ref{Group: "lib.projectsveltos.io", Kind: "SveltosCluster", Namespace: "civo", Name: cluster}
			if err := store.Deployed(t.Context(), owner, ref, report); err != nil {
				t.Fatal(err)
			}
		}
	}
	return &Histories{Records: history.NewReader(memory), Specs: specs{}, Secret: host.get}
}

func TestHistoryIsListedFromTheLatest(t *testing.T) {
	h := newHistories(t, nil,
		history.Report{Revision: "s1", State: history.StateDeployed, Time: start, Sources: []history.Observed{read("ConfigMap", "apps", "a", "1"), read("Secret", "apps", "b", "1")}},
		history.Report{Revision: "s2", State: history.StateFailed, Time: start, Message: "quota exceeded"})
	all, err := h.History(t.Context(), owner, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range all {
		text := fmt.Sprintf("%d %s %s %s", r.Number, r.Name, r.Author, r.State)
		for _, s := range r.Sources {
			text += fmt.Sprintf(" %s:%t", s.Name, s.Digest != "")
		}
		for _, c := range r.Clusters {
			text += " " + c.Cluster.Name + "=" + c.State
		}
		got = append(got, text)
		if r.Spec != nil || r.Obstacles != nil {
			t.Errorf("revision %d has all that is known of it", r.Number)
		}
	}
	want := []string{"2 s2 alice Failed one=Failed two=Failed", "1 s1 alice Superseded a:true b:false one=Deployed two=Deployed"}
	if !slices.Equal(got, want) {
		t.Errorf("the history is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestOneRevisionHasItsSpecAndWhatIsInTheWay(t *testing.T) {
	sources := []history.Observed{
		read("ConfigMap", "apps", "a", "1"), read("Secret", "apps", "same", "1"), read("Secret", "apps", "other", "1"),
		read("Secret", "apps", "gone", "1"), read("Secret", "elsewhere", "hidden", "1"),
		{Key: history.Key{Kind: history.KindURL, Name: "https://example.com"}, Content: holding(strings.Repeat("x", 17<<20))},
	}
	host := secrets{"apps/same": holding("1"), "apps/other": holding("2")}
	h := newHistories(t, host, history.Report{Revision: "s1", State: history.StateDeployed, Sources: sources}, history.Report{Revision: "s2"})
	one, err := h.History(t.Context(), owner, 1)
	if err != nil || len(one) != 1 {
		t.Fatal(one, err)
	}
	if one[0].Spec == nil || one[0].Spec.SetRefs[0] != "s1" {
		t.Errorf("the spec is %+v", one[0].Spec)
	}
	want := []string{
		"Secret apps/gone does not exist any more", "Secret apps/other has changed", "Secret elsewhere/hidden is out of Muster's reach",
		"URL https://example.com was too large to be kept",
	}
	if !slices.Equal(one[0].Obstacles, want) {
		t.Errorf("in the way are %q, want %q", one[0].Obstacles, want)
	}
}

func TestWhatIsNotInTheHistory(t *testing.T) {
	h := newHistories(t, nil, history.Report{Revision: "s1"})
	if _, err := h.History(t.Context(), owner, 2); !errors.Is(err, clusterprofile.ErrNoHistory) {
		t.Errorf("another revision: %v", err)
	}
	if _, err := h.History(t.Context(), revision.Owner{Kind: "Profile", Namespace: "a", Name: "web"}, 0); !errors.Is(err, clusterprofile.ErrNoHistory) {
		t.Errorf("another profile: %v", err)
	}
}

func TestStateOfARevision(t *testing.T) {
	on := func(states ...string) (out []config.RevisionCluster) {
		for _, state := range states {
			out = append(out, config.RevisionCluster{State: state, Time: metav1.NewTime(start)})
		}
		return out
	}
	for _, test := range []struct {
		clusters []config.RevisionCluster
		latest   bool
		want     string
	}{
		{on("Deployed", "Deployed"), true, "Deployed"},
		{on("Deployed", "Deploying"), true, "Deploying"},
		{on("Deploying", "Failed"), true, "Failed"},
		{nil, true, "Deploying"},
		{on("Deployed"), false, "Superseded"},
	} {
		if got := stateOf(test.clusters, test.latest); got != test.want {
			t.Errorf("%v, latest=%t: %s, want %s", test.clusters, test.latest, got, test.want)
		}
	}
}
