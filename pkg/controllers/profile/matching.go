// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/fleet"
)

// set is what a profile needs to know of a set that it names.
type set struct {
	// resolved is false if the set is missing, being deleted, or so new that
	// nothing was selected for it yet.
	resolved bool
	// selected is the persisted selection: profiles act on what was decided, not
	// on what would be.
	selected []fleet.Ref
}

// inputs is all that decides which clusters a profile is for.
type inputs struct {
	// namespace limits a Profile to its own clusters; empty for a ClusterProfile.
	namespace string
	// bySelector are the members that the profile's own selector matches.
	bySelector []fleet.Member
	refs       []corev1.ObjectReference
	setKind    configv1beta1.MatchCauseKind
	setNames   []string
	sets       map[string]set
	// member looks a registration up.
	member func(fleet.Ref) (fleet.Member, bool)
	// dependants are the profiles that depend on this one.
	dependants []dependant
	// summaries are those that the profile has.
	summaries []configv1beta1.ClusterSummary
}

// match is a cluster that the profile is for, and what makes it so.
type match struct {
	member fleet.Member
	causes []configv1beta1.MatchCause
	// held says that it is not the cluster's turn to get the latest revision.
	held bool
}

// matching is the answer to inputs.
type matching struct {
	// clusters are in the order of their refs.
	clusters []match
	// unresolvedSets and missingClusters are named by the profile and not there.
	unresolvedSets  []string
	missingClusters []string
	// dependencies is what is wrong with those that the profile depends on.
	dependencies dependencies
	// rollout is how far the latest revision is, nil without maxUpdate.
	rollout *rollout
}

// resolve finds the clusters of a profile: those that its selector matches and
// that have been ready once, those that it names, and those that its sets
// selected. A set that cannot be resolved leaves its last clusters in place.
func resolve(in inputs) matching {
	var out matching
	found := map[fleet.Ref]*match{}
	add := func(member fleet.Member, cause configv1beta1.MatchCause) {
		if member.Deleting {
			return
		}
		if found[member.Ref] == nil {
			found[member.Ref] = &match{member: member}
		}
		found[member.Ref].causes = append(found[member.Ref].causes, cause)
	}
	for _, member := range in.bySelector {
		if member.EverReady {
			add(member, configv1beta1.MatchCause{Kind: configv1beta1.MatchCauseSelector})
		}
	}
	for _, ref := range clusterref.FromObjects(in.refs, in.namespace) {
		if member, ok := in.member(ref); ok {
			add(member, configv1beta1.MatchCause{Kind: configv1beta1.MatchCauseReference})
		} else {
			out.missingClusters = append(out.missingClusters, ref.Namespace+"/"+ref.Name)
		}
	}
	for _, name := range in.setNames {
		cause := configv1beta1.MatchCause{Kind: in.setKind, Name: name}
		selected := in.sets[name].selected
		if !in.sets[name].resolved {
			out.unresolvedSets = append(out.unresolvedSets, name)
			selected = lastClusters(in.summaries, cause)
		}
		for _, ref := range selected {
			if member, ok := in.member(ref); ok {
				add(member, cause)
			}
		}
	}
	for _, d := range in.dependants {
		for _, ref := range d.clusters {
			if member, ok := in.member(ref); ok {
				add(member, configv1beta1.MatchCause{Kind: configv1beta1.MatchCauseDependant, Name: d.name})
			}
		}
	}
	for _, m := range found {
		out.clusters = append(out.clusters, *m)
	}
	slices.SortFunc(out.clusters, func(a, b match) int { return a.member.Compare(b.member.Ref) })
	return out
}

// lastClusters are those that the profile has because of cause.
func lastClusters(summaries []configv1beta1.ClusterSummary, cause configv1beta1.MatchCause) []fleet.Ref {
	var refs []fleet.Ref
	for i := range summaries {
		if !summaries[i].Spec.Withdraw && slices.Contains(summaries[i].Spec.MatchedBy, cause) {
			refs = append(refs, clusterref.OfSummary(&summaries[i]))
		}
	}
	return refs
}
