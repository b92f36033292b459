// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fuzzer fills objects of group lib.projectsveltos.io with random content
// for tests.
package fuzzer

import (
	"math/rand"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeserializer "k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/randfill"

	"github.com/muster-project/muster/pkg/apis/lib"
)

// strange are strings of which most are no selectors.
var strange = []string{"env in prod", "env=", "==", "a b", "{", "{}", `{"matchLabels":{"env":"prod"}}`, "size>3", "size < 3, a=b", "=,", "!"}

// Funcs returns the functions that fill what must not be filled at random: what
// has a canonical form, and what has a default.
func Funcs(_ runtimeserializer.CodecFactory) []any {
	return []any{
		fillSelector,
		fillReference,
		func(obj *lib.SveltosCluster, c randfill.Continue) {
			c.FillNoCustom(obj)
			if obj.Spec.ConsecutiveFailureThreshold == 0 {
				obj.Spec.ConsecutiveFailureThreshold = 3
			}
		},
		func(obj *lib.Set, c randfill.Continue) {
			c.FillNoCustom(obj)
			FillNamespaces(obj.Spec.ClusterRefs, obj.Namespace)
		},
		func(obj *lib.SelectedCluster, c randfill.Continue) {
			c.FillNoCustom(obj)
			obj.APIVersion, obj.Kind = apiVersionAndKind(c.Rand)
		},
		func(obj *lib.MetricSource, c randfill.Continue) {
			c.FillNoCustom(obj)
			if obj.Path == "" {
				obj.Path = "api/v1/query"
			}
		},
	}
}

// FillNamespaces completes references as the defaults of a namespaced kind do.
func FillNamespaces(refs []corev1.ObjectReference, namespace string) {
	for i := range refs {
		if refs[i].Namespace == "" {
			refs[i].Namespace = namespace
		}
	}
}

// fillSelector makes a selector in the form that parsing it gives: valid, or not
// valid, or not parsed.
func fillSelector(selector *lib.Selector, c randfill.Continue) {
	switch c.Rand.Intn(8) {
	case 0:
		*selector = lib.Selector{}
	case 1:
		*selector = lib.ParseSelector(strange[c.Rand.Intn(len(strange))])
	case 2:
		*selector = lib.Selector{LabelSelector: metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			{Key: "env", Operator: metav1.LabelSelectorOperator("Like"), Values: []string{c.String(8)}},
		}}}
	default:
		var valid metav1.LabelSelector
		c.Fill(&valid)
		*selector = lib.ParseSelector(lib.Selector{LabelSelector: valid}.String())
	}
}

// fillReference makes references to clusters as frequent as others.
func fillReference(ref *corev1.ObjectReference, c randfill.Continue) {
	c.FillNoCustom(ref)
	ref.APIVersion, ref.Kind = apiVersionAndKind(c.Rand)
}

func apiVersionAndKind(random *rand.Rand) (apiVersion, kind string) {
	choices := []string{
		lib.ClusterAPIVersion(lib.HubVersion) + " SveltosCluster",
		"cluster.x-k8s.io/v1beta1 Cluster",
		"v1 ConfigMap",
		" SveltosCluster",
		lib.GroupName + "/v1alpha1 Unknown",
	}
	apiVersion, kind, _ = strings.Cut(choices[random.Intn(len(choices))], " ")
	return apiVersion, kind
}
