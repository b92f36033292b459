// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/brief"
	"github.com/muster-project/muster/pkg/controllers/hostobjects"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/history"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/remote"
)

// maxRecorded bounds what the history says of a failure, in bytes.
const maxRecorded = 512

// observation notes what one job reads, and gives it what its revision has pinned in
// place of what sources hold now. A nil one does neither.
type observation struct {
	history *history.Store
	pinned  *revision.Contents
	now     func() time.Time
	sources []history.Observed
}

// observe begins the observation of a job, nil if there is no history.
func (r *Reconciler) observe(rev revision.Revision) *observation {
	if r.History == nil {
		return nil
	}
	return &observation{history: r.History, pinned: rev.Pinned, now: r.Now}
}

// began is the time before a read.
func (o *observation) began() time.Time {
	if o == nil {
		return time.Time{}
	}
	return o.now()
}

// has reports whether the revision has pinned a source.
func (o *observation) has(kind, namespace, name string) bool {
	if o == nil {
		return false
	}
	_, pinned := o.pinned.Pin(kind, namespace, name)
	return pinned
}

// restore returns what the revision has pinned of a source, and whether it has. What
// a Secret held is not kept: it is read, and note compares.
func (o *observation) restore(ctx context.Context, kind, namespace, name string) (history.Content, bool, error) {
	if o == nil || kind == configv1beta1.SourceKindSecret {
		return history.Content{}, false, nil
	}
	pin, pinned := o.pinned.Pin(kind, namespace, name)
	if !pinned {
		return history.Content{}, false, nil
	}
	content, err := o.history.Content(ctx, pin.Digest)
	if errors.Is(err, history.ErrNotFound) {
		err = o.refused(kind, namespace, name, "is not kept any more")
	}
	if err == nil {
		o.sources = append(o.sources, history.Observed{Key: history.Key{Kind: kind, Namespace: namespace, Name: name}, Content: content, Read: o.now()})
	}
	return content, true, err
}

// note remembers what was read. Its error says that a Secret is not what it was in
// the revision that is deployed again.
func (o *observation) note(kind, namespace, name string, content history.Content, read time.Time) error {
	if o == nil {
		return nil
	}
	o.sources = append(o.sources, history.Observed{Key: history.Key{Kind: kind, Namespace: namespace, Name: name}, Content: content, Read: read})
	pin, pinned := o.pinned.Pin(kind, namespace, name)
	if !pinned || kind != configv1beta1.SourceKindSecret {
		return nil
	}
	if (&history.Profile{Salt: o.pinned.Salt}).SecretHash(content) != pin.Digest {
		return o.refused(kind, namespace, name, "has changed")
	}
	return nil
}

// refused says why the contents of a revision cannot be deployed, and how it ends.
func (o *observation) refused(kind, namespace, name, what string) error {
	return &SourceError{Kind: kind, Name: types.NamespacedName{Namespace: namespace, Name: name}, Err: fmt.Errorf(
		"%s since revision %d, which the profile was rolled back to; what is deployed stays. Change the profile's spec, or remove its annotation %s, to end the rollback",
		what, o.pinned.Of, configv1beta1.AnnotationContentsOf)}
}

// contentOf is what an object holds, as far as rendering looks at it.
func contentOf(source render.Source) history.Content {
	return history.Content{Type: source.Type, Annotations: history.Meaningful(source.Annotations), Data: source.Data}
}

// observedObject reads a ConfigMap or Secret that is deployed from, or gives what the
// revision has pinned of it. Credentials are read without it: they are no content, and
// may change without what is fetched with them doing so. What a tenant may not read it is not
// given because it was read as somebody else before.
func (b *requestBuilder) observedObject(ctx context.Context, kind string, name types.NamespacedName) (render.Source, error) {
	content, restored, err := b.observed.restore(ctx, kind, name.Namespace, name.Name)
	if restored {
		if err == nil {
			err = b.mayTenantRead(ctx, hostobjects.Want{Kind: corev1.SchemeGroupVersion.WithKind(kind), Namespace: name.Namespace, Name: name.Name})
		}
		return render.Source{
			Kind: kind, Namespace: name.Namespace, Name: name.Name,
			Type: content.Type, Annotations: content.Annotations, Data: content.Data,
		}, err
	}
	began := b.observed.began()
	source, err := b.read(ctx, kind, name)
	if err != nil {
		return source, err
	}
	return source, b.observed.note(kind, name.Namespace, name.Name, contentOf(source), began)
}

// unlessGone is what keeps a tenant from what is kept of a source. That it is not there any
// more does not; what the tenant may not read may have been read as somebody else.
func unlessGone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// fetchURL fetches a URL, or gives what the revision has pinned of it. What is
// restored is not fetched again.
func (b *requestBuilder) fetchURL(ctx context.Context, source remote.Source) (remote.Content, error) {
	name := remote.RedactURL(source.URL)
	kept, restored, err := b.observed.restore(ctx, kindURL, "", name)
	if restored {
		content := remote.Content{Digest: kept.Origin}
		for _, blob := range kept.Blobs {
			content.Blobs = append(content.Blobs, remote.Blob{Name: blob.Name, Data: blob.Data})
		}
		return content, err
	}
	read := b.observed.began()
	content, err := b.fetcher.Fetch(ctx, source)
	if err != nil {
		return content, err
	}
	out := history.Content{Origin: content.Digest}
	for _, blob := range content.Blobs {
		out.Blobs = append(out.Blobs, history.Blob{Name: blob.Name, Data: blob.Data})
	}
	return content, b.observed.note(kindURL, "", name, out, read)
}

// record writes down how a deployment ended. That it could not be is no reason for
// the deployment to fail.
func (r *Reconciler) record(ctx context.Context, cluster fleet.Ref, profile inventory.Owner, rev revision.Revision, observed *observation, result deploy.Result) {
	if observed == nil || ctx.Err() != nil {
		return
	}
	owner := revision.Owner{Kind: profile.Kind, Namespace: profile.Namespace, Name: profile.Name}
	spec, err := revision.Name(owner, rev.Spec)
	if err == nil {
		report := history.Report{Revision: rev.Name, Spec: spec, Time: r.Now(), State: history.StateDeployed, Sources: observed.sources}
		if failed := resultError(result); failed != nil {
			report.State, report.Message = history.StateFailed, brief.Text(failed.Error(), maxRecorded)
			if reasonOf(failed) == configv1beta1.ReasonProvisioning {
				report.State = history.StateDeploying
			}
		}
		err = r.History.Deployed(ctx, owner, cluster, report)
	}
	if err != nil && ctx.Err() == nil {
		klog.FromContext(ctx).Error(err, "The deployment is not in the profile's history", "profile", profile, "cluster", cluster)
	}
}
