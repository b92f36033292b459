// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package lib

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// HubVersion is the version of this group that references of internal objects, and
// of stored ones, are written with.
const HubVersion = "v1beta1"

// ClusterAPIVersion is the apiVersion of a reference to a SveltosCluster for a
// reader of the version, such as v1beta1.
func ClusterAPIVersion(version string) string {
	return GroupName + "/" + version
}

// APIVersionAt is the apiVersion of a reference, rewritten for a reader of the
// version if it refers to a SveltosCluster. Other references stay as they are.
func APIVersionAt(version, apiVersion, kind string) string {
	written, ours := strings.CutPrefix(apiVersion, GroupName+"/")
	if !ours || kind != "SveltosCluster" || written == version {
		return apiVersion
	}
	return ClusterAPIVersion(version)
}

// RefAt is the reference, rewritten for a reader of the version.
func RefAt(version string, ref corev1.ObjectReference) corev1.ObjectReference {
	ref.APIVersion = APIVersionAt(version, ref.APIVersion, ref.Kind)
	return ref
}

// RefsAt are the references, rewritten for a reader of the version. It never
// changes refs, which conversion shares with the object that it converts from, and
// returns refs itself if there is nothing to rewrite.
func RefsAt(version string, refs []corev1.ObjectReference) []corev1.ObjectReference {
	changes := func(ref corev1.ObjectReference) bool {
		return APIVersionAt(version, ref.APIVersion, ref.Kind) != ref.APIVersion
	}
	if !slices.ContainsFunc(refs, changes) {
		return refs
	}
	rewritten := make([]corev1.ObjectReference, len(refs))
	for i, ref := range refs {
		rewritten[i] = RefAt(version, ref)
	}
	return rewritten
}
