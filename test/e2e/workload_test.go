// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// contentNamespace is where content goes in the managed clusters: a namespace
// that they all have.
const contentNamespace = "default"

// applySet applies a ClusterSet named for the scope that selects one of the
// scope's clusters.
func (s *scope) applySet() {
	s.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: lib.projectsveltos.io/v1beta1
kind: ClusterSet
metadata: {name: %[1]s}
spec:
  clusterSelector: {matchLabels: {scope: %[1]s}}
  maxReplicas: 1
`, s.name))
}

// applySource applies a ConfigMap in the scope's namespace with a manifest in it
// for each name: a ConfigMap of that name.
func (s *scope) applySource(source string, names ...string) {
	s.Helper()
	var manifest strings.Builder
	fmt.Fprintf(&manifest, "apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: %s, name: %s}\ndata:\n", s.name, source)
	for _, name := range names {
		fmt.Fprintf(&manifest, "  %s.yaml: |\n    apiVersion: v1\n    kind: ConfigMap\n    metadata: {namespace: %s, name: %s}\n    data: {by: muster}\n",
			name, contentNamespace, name)
	}
	s.apply(manifest.String())
}

// applyProfile applies a ClusterProfile that deploys a source, to where the
// YAML of further fields of its spec says.
func (s *scope) applyProfile(name, source, where string) {
	s.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: config.projectsveltos.io/v1beta1
kind: ClusterProfile
metadata: {name: %s}
spec:
  policyRefs:
  - {kind: ConfigMap, namespace: %s, name: %s}
  %s
`, name, s.name, source, where))
}

// content reads a ConfigMap in a managed cluster, past its proxy; nil if there
// is none.
func (s *scope) content(ctx context.Context, cluster, name string) (*corev1.ConfigMap, error) {
	found, err := s.managed[cluster].CoreV1().ConfigMaps(contentNamespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return found, err
}

// hasContent is a check that a managed cluster has all or none of these.
func (s *scope) hasContent(cluster string, want bool, names ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, name := range names {
			found, err := s.content(ctx, cluster, name)
			if err != nil {
				return err
			}
			if (found != nil) != want {
				return fmt.Errorf("%s has ConfigMap %s: %t, want %t", cluster, name, found != nil, want)
			}
		}
		return nil
	}
}

// awaitContent waits until a managed cluster has all or none of these.
func (s *scope) awaitContent(cluster string, want bool, names ...string) {
	s.Helper()
	s.eventually(fmt.Sprintf("%s has %v: %t", cluster, names, want), deploySoon, s.hasContent(cluster, want, names...))
}

// awaitOneSelected waits until a ClusterSet has exactly one of the scope's
// clusters selected, and says which.
func (s *scope) awaitOneSelected(set string) string {
	s.Helper()
	var selected string
	s.eventually("ClusterSet "+set+" selects one cluster", soon, func(ctx context.Context) error {
		names, err := s.observer.Selected(ctx, set)
		if err != nil {
			return err
		}
		if len(names) != 1 {
			return fmt.Errorf("it selects %q", names)
		}
		selected = strings.TrimPrefix(names[0], s.name+"/")
		return nil
	})
	return selected
}

// awaitSelected waits until a ClusterSet's status has exactly this one of the
// scope's clusters selected.
func (s *scope) awaitSelected(set, cluster string) {
	s.Helper()
	s.eventually("ClusterSet "+set+" selects "+cluster, failoverSoon, func(ctx context.Context) error {
		return s.observer.OnlySelected(ctx, set, s.name+"/"+cluster)
	})
}

// candidate reads what a ClusterSet makes of one of the scope's clusters.
func (s *scope) candidate(ctx context.Context, set, cluster string) (libv1beta1.SelectionCandidate, error) {
	selection, err := s.muster.LibV1beta1().ClusterSets().GetSelectionWithOptions(ctx, set, libv1beta1.SelectionOptions{})
	if err != nil {
		return libv1beta1.SelectionCandidate{}, err
	}
	i := slices.IndexFunc(selection.Candidates, func(c libv1beta1.SelectionCandidate) bool {
		return c.Ref.Namespace == s.name && c.Ref.Name == cluster
	})
	if i >= 0 {
		return selection.Candidates[i], nil
	}
	// The selected ones are a list of their own.
	for _, c := range selection.Selected {
		if c.Namespace == s.name && c.Name == cluster {
			ref := corev1.ObjectReference{APIVersion: c.APIVersion, Kind: c.Kind, Namespace: c.Namespace, Name: c.Name}
			return libv1beta1.SelectionCandidate{Ref: ref, State: c.State, Reason: c.Reason}, nil
		}
	}
	return libv1beta1.SelectionCandidate{}, fmt.Errorf("ClusterSet %s has no candidate %s: %s", set, cluster, asJSON(selection))
}

// hasReason is a check that a ClusterSet gives a cluster this reason.
func (s *scope) hasReason(set, cluster string, want libv1beta1.SelectionReason) func(context.Context) error {
	return func(ctx context.Context) error {
		candidate, err := s.candidate(ctx, set, cluster)
		if err == nil && candidate.Reason != want {
			err = fmt.Errorf("ClusterSet %s finds %s %s and %s, want %s", set, cluster, candidate.State, candidate.Reason, want)
		}
		return err
	}
}

// awaitReason waits until a ClusterSet gives a cluster this reason.
func (s *scope) awaitReason(set, cluster string, want libv1beta1.SelectionReason) {
	s.Helper()
	s.eventually(fmt.Sprintf("ClusterSet %s finds %s %s", set, cluster, want), failoverSoon, s.hasReason(set, cluster, want))
}

// awaitProfile waits until a ClusterProfile has a condition.
func (s *scope) awaitProfile(name, conditionType string, status metav1.ConditionStatus, reason string) {
	s.Helper()
	s.eventually(fmt.Sprintf("ClusterProfile %s has %s=%s", name, conditionType, status), deploySoon, func(ctx context.Context) error {
		profile, err := s.muster.ConfigV1beta1().ClusterProfiles().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return condition(profile.Status.Conditions, conditionType, status, reason)
	})
}

// summary reads the ClusterSummary of a ClusterProfile on one of the scope's
// clusters; nil if there is none.
func (s *scope) summary(ctx context.Context, profile, cluster string) (*configv1beta1.ClusterSummary, error) {
	found, err := s.muster.ConfigV1beta1().ClusterSummaries(s.name).Get(ctx, profile+"-sveltos-"+cluster, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return found, err
}

// awaitNoSummary waits until a withdrawal has ended.
func (s *scope) awaitNoSummary(profile, cluster string) {
	s.Helper()
	s.eventually("nothing is left of "+profile+" on "+cluster, deploySoon, func(ctx context.Context) error {
		found, err := s.summary(ctx, profile, cluster)
		if err == nil && found != nil {
			err = fmt.Errorf("its summary: %s", asJSON(found))
		}
		return err
	})
}
