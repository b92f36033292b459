// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/render"
)

// SourceError is a ConfigMap or Secret that cannot be read.
type SourceError struct {
	Kind string
	Name types.NamespacedName
	Err  error
}

// Error names the source.
func (e *SourceError) Error() string {
	return fmt.Sprintf("%s %s of the host: %v", e.Kind, e.Name, e.Err)
}

// Unwrap returns the cause.
func (e *SourceError) Unwrap() error { return e.Err }

// requestBuilder renders what a profile wants on a cluster.
type requestBuilder struct {
	// host reads ConfigMaps and Secrets, not through a cache.
	host     client.Reader
	renderer *render.Renderer
	// reads is told of each source before it is read.
	reads func(sourceRef)
	// data is what templates see.
	data map[string]any
	// namespace is the cluster's, which references without one mean.
	namespace string
	// tenant is the namespace that a Profile may read from, empty for a
	// ClusterProfile, which may read from all.
	tenant string
}

// templateData is what templates see of a cluster: the whole object, except for
// what only the API server cares about.
func templateData(cluster *libv1beta1.SveltosCluster) (map[string]any, error) {
	stripped := cluster.DeepCopy()
	stripped.ManagedFields = nil
	stripped.TypeMeta = metav1.TypeMeta{APIVersion: libv1beta1.SchemeGroupVersion.String(), Kind: libv1beta1.KindSveltosCluster}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(stripped)
	if err != nil {
		return nil, fmt.Errorf("preparing SveltosCluster %s/%s for templates: %w", cluster.Namespace, cluster.Name, err)
	}
	return render.TemplateData(object), nil
}

// fingerprint says what a job would deploy, sources aside: the revision, and
// those parts of the cluster that a person or its upgrade changes. Its health is
// no part: a cluster that comes and goes is not deployed to again each time.
func fingerprint(summary *configv1beta1.ClusterSummary, cluster *libv1beta1.SveltosCluster) (string, error) {
	encoded, err := json.Marshal([]any{
		summary.Spec.ProfileRevision, summary.Spec.Withdraw, cluster.UID, cluster.Status.ClusterID,
		cluster.Labels, cluster.Annotations, cluster.Spec, cluster.Status.Version,
	})
	if err != nil {
		return "", fmt.Errorf("encoding the state of SveltosCluster %s/%s: %w", cluster.Namespace, cluster.Name, err)
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:]), nil
}

// objects renders policyRefs, in the order written. What comes before a source
// that fails is in the list beside the error.
func (b *requestBuilder) objects(ctx context.Context, refs []configv1beta1.PolicyRef) deploy.ObjectList {
	list := deploy.ObjectList{Feature: deploy.Resources}
	for i, ref := range refs {
		objects, from, err := b.source(ctx, i, ref)
		if err != nil {
			list.Err = fmt.Errorf("policyRefs[%d]: %w", i, err)
			return list
		}
		for _, content := range objects {
			list.Objects = append(list.Objects, deploy.Object{Content: content, Source: from})
		}
	}
	return list
}

// source renders one reference and what it refers to.
func (b *requestBuilder) source(ctx context.Context, index int, ref configv1beta1.PolicyRef) ([]*unstructured.Unstructured, inventory.Source, error) {
	from := inventory.Source{Kind: ref.Kind, Tier: ref.Tier}
	var err error
	if from.Namespace, err = b.renderer.String(ctx, fmt.Sprintf("policyRefs[%d].namespace", index), ref.Namespace, b.data); err != nil {
		return nil, from, err
	}
	if from.Namespace == "" {
		from.Namespace = b.namespace
	}
	// Validation has seen plain names; what a template makes of them it has not.
	if b.tenant != "" && from.Namespace != b.tenant {
		return nil, from, fmt.Errorf("namespace %q: a Profile reads from its own namespace %q only", from.Namespace, b.tenant)
	}
	if from.Name, err = b.renderer.String(ctx, fmt.Sprintf("policyRefs[%d].name", index), ref.Name, b.data); err != nil {
		return nil, from, err
	}
	content, err := b.read(ctx, ref.Kind, types.NamespacedName{Namespace: from.Namespace, Name: from.Name})
	if err != nil {
		return nil, from, err
	}
	objects, err := b.renderer.Objects(ctx, content, b.data)
	return objects, from, err
}

// read reads a source from the host.
func (b *requestBuilder) read(ctx context.Context, kind string, name types.NamespacedName) (render.Source, error) {
	b.reads(sourceRef{kind: kind, NamespacedName: name})
	out := render.Source{Kind: kind, Namespace: name.Namespace, Name: name.Name}
	switch kind {
	case configv1beta1.SourceKindConfigMap:
		object := &corev1.ConfigMap{}
		if err := b.host.Get(ctx, name, object); err != nil {
			return out, sourceError(kind, name, err)
		}
		out.Annotations = object.Annotations
		out.Data = maps.Clone(object.BinaryData)
		if out.Data == nil {
			out.Data = map[string][]byte{}
		}
		for key, value := range object.Data {
			out.Data[key] = []byte(value)
		}
	case configv1beta1.SourceKindSecret:
		object := &corev1.Secret{}
		if err := b.host.Get(ctx, name, object); err != nil {
			return out, sourceError(kind, name, err)
		}
		out.Type, out.Annotations, out.Data = string(object.Type), object.Annotations, object.Data
	default:
		return out, fmt.Errorf("kind %q is not supported yet", kind)
	}
	return out, nil
}

func sourceError(kind string, name types.NamespacedName, err error) error {
	if apierrors.IsNotFound(err) {
		err = fmt.Errorf("does not exist: %w", err)
	}
	return &SourceError{Kind: kind, Name: name, Err: err}
}

// charts renders helmCharts, in the order written.
func (b *requestBuilder) charts(ctx context.Context, charts []configv1beta1.HelmChart) deploy.ChartList {
	var list deploy.ChartList
	for i := range charts {
		chart, err := b.chart(ctx, i, &charts[i])
		if err != nil {
			list.Err = fmt.Errorf("helmCharts[%d]: %w", i, err)
			return list
		}
		list.Charts = append(list.Charts, chart)
	}
	return list
}

func (b *requestBuilder) chart(ctx context.Context, index int, in *configv1beta1.HelmChart) (deploy.Chart, error) {
	var out deploy.Chart
	var values string
	for _, field := range []struct {
		name string
		from string
		to   *string
	}{
		{"repositoryURL", in.RepositoryURL, &out.Ref.RepositoryURL},
		{"repositoryName", in.RepositoryName, &out.Ref.RepositoryName},
		{"chartName", in.ChartName, &out.Ref.ChartName},
		{"chartVersion", in.ChartVersion, &out.Ref.Version},
		{"releaseNamespace", in.ReleaseNamespace, &out.Namespace},
		{"releaseName", in.ReleaseName, &out.Name},
		{"values", in.Values, &values},
	} {
		rendered, err := b.renderer.String(ctx, fmt.Sprintf("helmCharts[%d].%s", index, field.name), field.from, b.data)
		if err != nil {
			return out, fmt.Errorf("%s: %w", field.name, err)
		}
		*field.to = rendered
	}
	out.Uninstall = in.HelmChartAction == configv1beta1.HelmChartActionUninstall
	if err := yaml.Unmarshal([]byte(values), &out.Values); err != nil {
		return out, fmt.Errorf("values of release %s/%s are no YAML map: %w", out.Namespace, out.Name, err)
	}
	return out, nil
}

// request is all that a profile wants on a cluster.
func (b *requestBuilder) request(ctx context.Context, owner inventory.Owner, summary, revision string, spec *configv1beta1.ProfileSpec) deploy.Request {
	request := deploy.Request{
		Owner: owner, Summary: summary, Revision: revision,
		ContinueOnError: spec.ContinueOnError, ContinueOnConflict: spec.ContinueOnConflict,
	}
	if len(spec.PolicyRefs) > 0 {
		request.Objects = append(request.Objects, b.objects(ctx, spec.PolicyRefs))
	}
	request.Charts = b.charts(ctx, spec.HelmCharts)
	return request
}
