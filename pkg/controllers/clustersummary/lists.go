// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/render"
)

// origin is a source as the objects that come from it are to be applied.
type origin struct {
	inventory.Source
	subresources []string
}

func originOf(source render.Source, tier int32) origin {
	return origin{
		Source:       inventory.Source{Kind: source.Kind, Namespace: source.Namespace, Name: source.Name, Tier: tier},
		subresources: subresourcesIn(source.Annotations[render.AnnotationSubresources]),
	}
}

// subresourcesIn reads a list with commas.
func subresourcesIn(text string) []string {
	var out []string
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, name)
		}
	}
	return out
}

// add puts rendered objects into a list, or, if they are for the host, beside it. as is
// what they have in common.
func (b *requestBuilder) add(list *deploy.ObjectList, to libv1beta1.DeploymentType, objects []*unstructured.Unstructured, as deploy.Object) {
	as.Source.Private = as.Source.Private || b.private
	for _, content := range objects {
		as.Content = content
		if to != libv1beta1.DeploymentTypeLocal {
			list.Objects = append(list.Objects, as)
			continue
		}
		if b.local == nil {
			b.local = map[deploy.Feature][]deploy.Object{}
		}
		b.local[list.Feature] = append(b.local[list.Feature], as)
	}
}

func featureOrder(order []libv1beta1.FeatureID) []deploy.Feature {
	var out []deploy.Feature
	for _, feature := range order {
		out = append(out, deploy.Feature(feature))
	}
	return out
}
