// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/release"
)

// The marks that every deployed object carries, under upstream's names.
const (
	ReasonLabel                  = "projectsveltos.io/reason"
	HashAnnotation               = "projectsveltos.io/hash"
	OwnerKindAnnotation          = "projectsveltos.io/owner-kind"
	OwnerNameAnnotation          = "projectsveltos.io/owner-name"
	OwnerTierAnnotation          = "projectsveltos.io/owner-tier"
	ReferenceKindAnnotation      = "projectsveltos.io/reference-kind"
	ReferenceNameAnnotation      = "projectsveltos.io/reference-name"
	ReferenceNamespaceAnnotation = "projectsveltos.io/reference-namespace"
	ReferenceTierAnnotation      = "projectsveltos.io/reference-tier"
)

// ClusterAnnotation is a mark of what is on the host: the managed cluster that it is
// for, as "namespace/name".
const ClusterAnnotation = "muster.projectsveltos.io/for-cluster"

// markAnnotations are all annotations among the marks.
func markAnnotations() []string {
	return []string{
		HashAnnotation, OwnerKindAnnotation, OwnerNameAnnotation, OwnerTierAnnotation,
		ReferenceKindAnnotation, ReferenceNameAnnotation, ReferenceNamespaceAnnotation, ReferenceTierAnnotation,
		ClusterAnnotation,
	}
}

// serverFields are what only a server may set. An exported manifest has them;
// with a uid or resourceVersion in it, it could be applied nowhere.
func serverFields() []string {
	return []string{
		"uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
		"deletionGracePeriodSeconds", "managedFields", "selfLink",
	}
}

// sanitize returns a copy of a rendered object that can be applied, or says why
// it can't be.
func sanitize(rendered *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	obj := rendered.DeepCopy()
	if obj.GetAPIVersion() == "" || obj.GetKind() == "" {
		return nil, fmt.Errorf("an object named %q has no apiVersion or no kind", obj.GetName())
	}
	if name, ok, _ := unstructured.NestedFieldNoCopy(obj.Object, "metadata", "name"); ok {
		if _, isString := name.(string); !isString {
			return nil, fmt.Errorf("a %s has the metadata.name %v, which is no string, quote it", obj.GetKind(), name)
		}
	}
	if obj.GetName() == "" {
		return nil, fmt.Errorf("a %s has no metadata.name (generateName can't be applied)", obj.GetKind())
	}
	for _, field := range serverFields() {
		unstructured.RemoveNestedField(obj.Object, "metadata", field)
	}
	for _, field := range []string{"labels", "annotations"} {
		// The getters would drop the whole map for one value that is no string.
		if _, _, err := unstructured.NestedStringMap(obj.Object, "metadata", field); err != nil {
			return nil, fmt.Errorf("%s %s: metadata.%s may hold strings alone, quote numbers and booleans", obj.GetKind(), obj.GetName(), field)
		}
	}
	return obj, nil
}

// mark puts the marks on a sanitized object. The user's own values under the
// same keys are overwritten: they would name a wrong owner.
func mark(obj *unstructured.Unstructured, owner inventory.Owner, feature Feature, source inventory.Source, hash string) {
	labels := obj.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[ReasonLabel] = string(feature)
	obj.SetLabels(labels)

	annotations := obj.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[HashAnnotation] = hash
	annotations[OwnerKindAnnotation] = owner.Kind
	annotations[OwnerNameAnnotation] = owner.Name
	annotations[OwnerTierAnnotation] = strconv.Itoa(int(owner.Tier))
	annotations[ReferenceKindAnnotation] = source.Kind
	annotations[ReferenceNameAnnotation] = source.Name
	annotations[ReferenceNamespaceAnnotation] = source.Namespace
	annotations[ReferenceTierAnnotation] = strconv.Itoa(int(source.Tier))
	delete(annotations, ClusterAnnotation)
	if owner.Cluster != "" {
		annotations[ClusterAnnotation] = owner.Cluster
	}
	obj.SetAnnotations(annotations)
}

// markedOwner returns the owner that an object's annotations name. A Profile
// reaches only the clusters of its own namespace, so that the cluster's
// namespace completes its identity.
func markedOwner(obj metav1.Object, clusterNamespace string) (inventory.OwnerKey, bool) {
	annotations := obj.GetAnnotations()
	key := inventory.OwnerKey{Kind: annotations[OwnerKindAnnotation], Name: annotations[OwnerNameAnnotation], Cluster: annotations[ClusterAnnotation]}
	if key.Kind == "" || key.Name == "" {
		return inventory.OwnerKey{}, false
	}
	if namespace, _, found := strings.Cut(key.Cluster, "/"); found {
		clusterNamespace = namespace
	}
	if key.Kind == "Profile" {
		key.Namespace = clusterNamespace
	}
	return key, true
}

// contentHash is of what a user asked for and never of what Muster makes of it:
// a new build that marks objects otherwise must not re-apply a fleet.
// The cluster that an object of the host is for is no part of it: what a profile
// has there for two clusters alike is one thing.
func contentHash(obj *unstructured.Unstructured, owner inventory.Owner, feature Feature, source inventory.Source, subresources, excluded []string) (string, error) {
	owner.Cluster = ""
	return hashOf(struct {
		Object  map[string]any   `json:"object"`
		Owner   inventory.Owner  `json:"owner"`
		Feature Feature          `json:"feature"`
		Source  inventory.Source `json:"source"`
		// Left out where there are none, as in chartHash.
		Subresources []string `json:"subresources,omitempty"`
		Excluded     []string `json:"excluded,omitempty"`
	}{obj.Object, owner, feature, source, subresources, excluded})
}

// chartHash is of everything that a profile asks for in a chart.
func chartHash(c Chart) (string, error) {
	return hashOf(struct {
		RepositoryURL  string         `json:"repositoryURL"`
		RepositoryName string         `json:"repositoryName"`
		ChartName      string         `json:"chartName"`
		Version        string         `json:"version"`
		Values         map[string]any `json:"values"`
		Uninstall      bool           `json:"uninstall"`
		// Left out where there is none, as it was before there was any: an
		// upgrade of Muster must not deploy every chart again.
		PostRender string         `json:"postRender,omitempty"`
		Settings   *askedSettings `json:"settings,omitempty"`
		// What is deployed already has to be proved too, once that is asked for.
		Verify *release.Verification `json:"verify,omitempty"`
	}{c.Ref.RepositoryURL, c.Ref.RepositoryName, c.Ref.ChartName, c.Ref.Version, c.Values, c.Uninstall, c.PostRenderHash, asked(c), c.Ref.Verify})
}

// hashOf hashes the JSON of v, in which the keys of maps are sorted.
func hashOf(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("not representable as JSON: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
