// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/hostobjects"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/mask"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/script"
	"github.com/muster-project/muster/pkg/script/fieldpath"
)

// kindRetry is after how long it is looked again whether the host has a kind by now, of
// which an object is optional. Nothing tells.
const kindRetry = time.Minute

// objectReader reads objects of any kind of the host; *hostobjects.Store does.
type objectReader interface {
	Read(ctx context.Context, reader types.NamespacedName, wants []hostobjects.Want) []hostobjects.Answer
}

// ObjectChanged makes a summary due that has read an object of the host which is another
// one now, and wakes it.
func (r *Reconciler) ObjectChanged(summary types.NamespacedName) {
	r.memory.due(summary)
	r.Trigger.Trigger(reconcile.Request{NamespacedName: summary})
}

// resources reads templateResourceRefs, and gives them to the templates.
func (b *requestBuilder) resources(ctx context.Context, refs []configv1beta1.TemplateResourceRef) error {
	wants := make([]hostobjects.Want, len(refs))
	for i := range refs {
		want, err := b.want(ctx, fmt.Sprintf("templateResourceRefs[%d].resource", i), &refs[i])
		if err != nil {
			return fmt.Errorf("templateResourceRefs[%d] (%s): %w", i, refs[i].Identifier, err)
		}
		wants[i] = want
		if err := b.mayTenantRead(ctx, want); err != nil {
			return fmt.Errorf("templateResourceRefs[%d] (%s): %w", i, refs[i].Identifier, err)
		}
	}
	resources := make(map[string]any, len(refs))
	for i, answer := range b.readObjects(ctx, wants) {
		object, err := b.resource(wants[i], answer.Answer, refs[i].Optional)
		if err != nil {
			return fmt.Errorf("templateResourceRefs[%d] (%s): %w", i, refs[i].Identifier, err)
		}
		if err := b.noteObject(wants[i], answer); err != nil {
			return fmt.Errorf("templateResourceRefs[%d] (%s): %w", i, refs[i].Identifier, err)
		}
		resources[refs[i].Identifier] = object
	}
	b.data = maps.Clone(b.data)
	b.data[script.DataResources] = resources
	if b.private {
		b.renderer = b.renderer.Discreet()
	}
	return nil
}

// mayTenantRead reads as the tenant what is then read, and watched, as Muster, or is not read
// because the revision has pinned it. That it does not exist is found out there.
func (b *requestBuilder) mayTenantRead(ctx context.Context, want hostobjects.Want) error {
	if !b.asTenant {
		return nil
	}
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(want.Kind)
	err := b.host.Get(ctx, types.NamespacedName{Namespace: want.Namespace, Name: want.Name}, object)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %s as the profile's tenant: %w", want, err)
	}
	return nil
}

// resource is what templates are given of an object: nil, which they can ask for, if it is
// optional and missing.
func (b *requestBuilder) resource(want hostobjects.Want, answer hostobjects.Answer, optional bool) (any, error) {
	switch {
	case answer.Err != nil && optional && b.mayMiss(answer.Err):
		return nil, nil
	case answer.Err != nil:
		return nil, answer.Err
	case want.Kind.Group != "" || want.Kind.Kind != configv1beta1.SourceKindSecret:
		return answer.Object.Object, nil
	case !isForProfiles(answer.Object):
		return nil, &hostobjects.Error{Want: want, Err: errNotForProfiles}
	}
	b.secrets, b.private = append(b.secrets, mask.Values(answer.Object)...), true
	return answer.Object.Object, nil
}

// errNotForProfiles says what makes a Secret one that templates may see.
var errNotForProfiles = fmt.Errorf("%w: it is not for profiles, having neither the type %s nor the annotation %s",
	hostobjects.ErrNotAllowed, render.SecretType, libv1beta1.AnnotationTemplateResource)

// isForProfiles reports whether whoever wrote a Secret has meant it for profiles. Who may
// write a profile may read all that its clusters are given, and shall not read all Secrets
// of the host by that, the kubeconfigs and Muster's own keys among them.
func isForProfiles(secret *unstructured.Unstructured) bool {
	kind, _, _ := unstructured.NestedString(secret.Object, "type")
	_, marked := secret.GetAnnotations()[libv1beta1.AnnotationTemplateResource]
	return kind == render.SecretType || marked
}

// mayMiss reports whether an error says that an object does not exist, which is no error
// of an optional one. Whether there is a kind by now has to be looked for.
func (b *requestBuilder) mayMiss(err error) bool {
	var unread *hostobjects.Error
	if !errors.As(err, &unread) || !unread.Missing() {
		return false
	}
	if unread.NoKind() {
		b.dueAt(b.now().Add(kindRetry))
	}
	return true
}

// want is what a reference means for the cluster.
func (b *requestBuilder) want(ctx context.Context, path string, ref *configv1beta1.TemplateResourceRef) (hostobjects.Want, error) {
	want := hostobjects.Want{Tenant: b.tenant, Filter: hostobjects.Filter{IgnoreStatus: ref.IgnoreStatusChanges}}
	version, err := schema.ParseGroupVersion(ref.Resource.APIVersion)
	if err != nil {
		return want, err
	}
	want.Kind = version.WithKind(ref.Resource.Kind)
	if want.Namespace, err = b.renderer.String(ctx, path+".namespace", ref.Resource.Namespace, b.data); err != nil {
		return want, err
	}
	if want.Namespace == "" {
		want.Namespace = b.namespace
	}
	if want.Name, err = b.renderer.String(ctx, path+".name", ref.Resource.Name, b.data); err != nil {
		return want, err
	}
	for _, field := range ref.WatchFields {
		parsed, err := fieldpath.Parse(field)
		if err != nil {
			return want, fmt.Errorf("watchFields: %q %w", field, err)
		}
		want.Filter.Fields = append(want.Filter.Fields, parsed)
	}
	if want.Name == "" {
		return want, errors.New("its name is empty")
	}
	return want, nil
}

// masked takes what Secrets hold that templates see out of the errors of a pass.
func (b *requestBuilder) masked(result deploy.Result) deploy.Result {
	if !b.private {
		return result
	}
	result.Err = mask.Error(result.Err, b.secrets)
	for name, feature := range result.Features {
		feature.Err = mask.Error(feature.Err, b.secrets)
		result.Features[name] = feature
	}
	return result
}

// maskedPreview takes what Secrets hold that templates see out of a preview.
func (b *requestBuilder) maskedPreview(preview deploy.Preview) deploy.Preview {
	if b.private {
		preview.Failure = mask.Text(preview.Failure, b.secrets)
	}
	return preview
}

// secretly has no error quote what a source says, if templates see Secrets.
func (b *requestBuilder) secretly(source *render.Source) *render.Source {
	if source != nil && b.private {
		source.Private = source.Private || source.IsRendered()
	}
	return source
}
