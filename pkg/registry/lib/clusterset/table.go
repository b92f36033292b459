// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clusterset

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/registry"
)

// mostNames is how many clusters a cell names.
const mostNames = 3

var table = Table(
	func(s *lib.ClusterSet) *lib.ClusterSetSpec { return &s.Spec },
	func(s *lib.ClusterSet) *lib.ClusterSetStatus { return &s.Status },
)

// Table is what kubectl get prints of a kind of set.
func Table[T registry.Object](spec func(T) *lib.ClusterSetSpec, status func(T) *lib.ClusterSetStatus) registry.Table[T] {
	return registry.Table[T]{
		{
			Header: "MaxReplicas", Type: registry.Integer, Help: "how many clusters are selected at most",
			Cell: func(s T) any { return int64(spec(s).MaxReplicas) },
		},
		{
			Header: "Matching", Type: registry.Integer, Help: "how many clusters match and are ready",
			Cell: func(s T) any { return int64(status(s).MatchingClusterCount) },
		},
		{
			Header: "Selected", Type: registry.Integer, Help: "how many clusters are selected",
			Cell: func(s T) any { return int64(status(s).SelectedClusterCount) },
		},
		{
			Header: "Clusters", Type: registry.String, Help: "the selected clusters, the one selected first at the front",
			Cell: func(s T) any { return names(status(s).SelectedClusterRefs) },
		},
		registry.Age[T](),
		{
			Header: "Halted", Type: registry.String, Help: "true while the set moves nothing, because so many clusters went down at once", Wide: true,
			Cell: func(s T) any {
				return registry.TrueOrBlank(meta.IsStatusConditionTrue(status(s).Conditions, v1beta1.ConditionFailoverHalted))
			},
		},
	}
}

// names lists the first few clusters, and says how many there are more.
func names(refs []corev1.ObjectReference) string {
	var listed []string
	for _, ref := range refs[:min(len(refs), mostNames)] {
		listed = append(listed, ref.Namespace+"/"+ref.Name)
	}
	text := strings.Join(listed, ",")
	if more := len(refs) - mostNames; more > 0 {
		text += fmt.Sprintf(" + %d more", more)
	}
	return text
}
