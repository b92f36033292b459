// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/brief"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/fleet"
)

const (
	maxNameLength  = 253
	maxLabelLength = 63
	// maxRefusal bounds what is logged of refusals, in bytes.
	maxRefusal = 4096
	// refusedRetry is the pause before what was refused is tried again.
	refusedRetry = 15 * time.Second
)

// summaryName is upstream's name for the summary of a profile on a cluster.
func summaryName(key Key, cluster string) string {
	name := key.Name + "-sveltos-" + cluster
	if key.Kind == configv1beta1.KindProfile {
		name = "p--" + name
	}
	return shorten(name, maxNameLength)
}

// shorten keeps names and label values within their limit, and apart.
func shorten(name string, limit int) string {
	if len(name) <= limit {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	suffix := "-" + hex.EncodeToString(sum[:5])
	return name[:limit-len(suffix)] + suffix
}

// summaryLabels are upstream's labels of a summary.
func summaryLabels(key Key, cluster string) map[string]string {
	labels := profileLabel(key)
	labels[libv1beta1.LabelClusterName] = shorten(cluster, maxLabelLength)
	labels[libv1beta1.LabelClusterType] = string(libv1beta1.ClusterTypeSveltos)
	return labels
}

// profileLabel is the label that all summaries of a profile have.
func profileLabel(key Key) map[string]string {
	name := libv1beta1.LabelClusterProfileName
	if key.Kind == configv1beta1.KindProfile {
		name = libv1beta1.LabelProfileName
	}
	return map[string]string{name: shorten(key.Name, maxLabelLength)}
}

// desiredSummary is the summary of p on a matching cluster. current is the one
// that exists, or nil.
func desiredSummary(p profile, m match, revisionName string, current *configv1beta1.ClusterSummary) *configv1beta1.ClusterSummary {
	summary := &configv1beta1.ClusterSummary{
		ObjectMeta: metav1.ObjectMeta{Namespace: m.member.Namespace, Name: summaryName(p.key(), m.member.Name)},
	}
	if current != nil {
		summary = current.DeepCopy()
	}
	if summary.Labels == nil {
		summary.Labels = map[string]string{}
	}
	maps.Copy(summary.Labels, summaryLabels(p.key(), m.member.Name))
	summary.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(p.Object, p.gvk())}
	// What is shown of the revision is filled in by the server.
	summary.Spec.ClusterProfileSpec = configv1beta1.ProfileSpec{}
	summary.Spec.ClusterNamespace = m.member.Namespace
	summary.Spec.ClusterName = m.member.Name
	summary.Spec.ClusterType = libv1beta1.ClusterTypeSveltos
	summary.Spec.MatchedBy = m.causes
	summary.Spec.ServiceAccount = tenantOf(p.Object)
	if current == nil || !m.held && !frozen(p, current) {
		summary.Spec.ProfileRevision = revisionName
	}
	return summary
}

// frozen reports whether a summary keeps its revision whatever the profile says
// now: it was deployed once, and OneTime means once. A profile that becomes
// OneTime is deployed one more time, as it then is.
func frozen(p profile, current *configv1beta1.ClusterSummary) bool {
	return p.spec.SyncMode == configv1beta1.SyncModeOneTime &&
		current.Spec.ClusterProfileSpec.SyncMode == configv1beta1.SyncModeOneTime &&
		meta.IsStatusConditionTrue(current.Status.Conditions, configv1beta1.ConditionReady)
}

// refusedError says that one summary cannot be what it should be, whatever
// becomes of the others.
type refusedError struct {
	cluster fleet.Ref
	err     error
}

func (e *refusedError) Error() string { return fmt.Sprintf("%s: %v", e.cluster, e.err) }
func (e *refusedError) Unwrap() error { return e.err }

// apart tells the refusals among joined errors from the others.
func apart(err error) (refused, others error) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil, err
	}
	var a, b []error
	for _, one := range joined.Unwrap() {
		if _, ok := one.(*refusedError); ok {
			a = append(a, one)
		} else {
			b = append(b, one)
		}
	}
	return errors.Join(a...), errors.Join(b...)
}

// noteRefused logs what was refused, once for as long as it is the same, and says
// when to ask again: what was in the way may go without anything to tell of it.
func (r *Reconciler) noteRefused(ctx context.Context, key Key, refused error) (retry time.Duration) {
	text := ""
	if refused != nil {
		text, retry = brief.Text(refused.Error(), maxRefusal), refusedRetry
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused[key] == text {
		return retry
	}
	if text == "" {
		delete(r.refused, key)
		return 0
	}
	if r.refused == nil {
		r.refused = map[Key]string{}
	}
	r.refused[key] = text
	klog.FromContext(ctx).Info("The profile cannot be put on some clusters", "error", text)
	return retry
}

// ensure makes the summaries of the matching clusters what they should be. One
// that is refused, or has changed, keeps no other cluster waiting; an API that
// does not answer would keep each waiting in turn, and ends it.
func (r *Reconciler) ensure(ctx context.Context, p profile, clusters []match, existing map[fleet.Ref]*configv1beta1.ClusterSummary, revisionName string) error {
	var errs []error
	for _, m := range clusters {
		err := r.ensureOne(ctx, p, m, existing[m.member.Ref], revisionName)
		switch {
		case err == nil:
		case isRefused(err):
			errs = append(errs, &refusedError{cluster: m.member.Ref, err: err})
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
			errs = append(errs, err)
		default:
			return errors.Join(append(errs, err)...)
		}
	}
	return errors.Join(errs...)
}

func (r *Reconciler) ensureOne(ctx context.Context, p profile, m match, current *configv1beta1.ClusterSummary, revisionName string) error {
	// A withdrawal that has begun ends first: what it deletes must not be
	// applied again beneath it. The end of it wakes this profile.
	if current != nil && !current.DeletionTimestamp.IsZero() {
		return nil
	}
	if current != nil && current.Spec.Withdraw {
		if !isTrial(current) {
			return r.remove(ctx, current)
		}
		desired := desiredSummary(p, m, revisionName, current)
		desired.Spec.Withdraw = false
		return r.apply(ctx, p, current, desired)
	}
	if current == nil && m.held {
		return nil
	}
	return r.apply(ctx, p, current, desiredSummary(p, m, revisionName, current))
}

// isRefused reports whether the API has answered that it does not take a summary
// as it is: its name is another one's, or a policy of the host denies it.
func isRefused(err error) bool {
	return errors.Is(err, errCollision) || apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)
}

func (r *Reconciler) apply(ctx context.Context, p profile, current, desired *configv1beta1.ClusterSummary) error {
	if current == nil {
		err := r.Client.Create(ctx, desired)
		if apierrors.IsAlreadyExists(err) {
			return r.explainCollision(ctx, p, desired, err)
		}
		if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			// The cluster's registration goes with its namespace, and wakes this
			// profile when it has gone.
			return nil
		}
		if err != nil {
			return fmt.Errorf("creating ClusterSummary %s/%s: %w", desired.Namespace, desired.Name, err)
		}
		klog.FromContext(ctx).Info("Profile matches cluster", "cluster", clusterref.OfSummary(desired), "causes", desired.Spec.MatchedBy)
		return nil
	}
	if sameSummary(current, desired) {
		return nil
	}
	if err := r.Client.Update(ctx, desired); err != nil {
		return fmt.Errorf("updating ClusterSummary %s/%s: %w", desired.Namespace, desired.Name, err)
	}
	// The profile's status is made of it next, and must not take what the summary says of
	// the revision before for an answer about this one.
	*current = *desired
	return nil
}

// sameSummary compares what the profile decides about a summary.
func sameSummary(current, desired *configv1beta1.ClusterSummary) bool {
	return apiequality.Semantic.DeepEqual(current.Labels, desired.Labels) &&
		apiequality.Semantic.DeepEqual(current.OwnerReferences, desired.OwnerReferences) &&
		current.Spec.ProfileRevision == desired.Spec.ProfileRevision &&
		current.Spec.Withdraw == desired.Spec.Withdraw &&
		apiequality.Semantic.DeepEqual(current.Spec.ServiceAccount, desired.Spec.ServiceAccount) &&
		apiequality.Semantic.DeepEqual(current.Spec.MatchedBy, desired.Spec.MatchedBy)
}

// explainCollision says why a summary could not be created: upstream's names
// are not unique ("a-sveltos-b" on "c", and "a" on "b-sveltos-c").
func (r *Reconciler) explainCollision(ctx context.Context, p profile, desired *configv1beta1.ClusterSummary, exists error) error {
	other := &configv1beta1.ClusterSummary{}
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(desired), other)
	if apierrors.IsNotFound(err) || err == nil && ownerIndexValue(other) == indexValue(p.key()) {
		return fmt.Errorf("ClusterSummary %s/%s is about to be seen here: %w", desired.Namespace, desired.Name, exists)
	}
	if err != nil {
		return fmt.Errorf("reading ClusterSummary %s/%s, which exists already: %w", desired.Namespace, desired.Name, err)
	}
	return fmt.Errorf("ClusterSummary %s/%s is that of %s on %s: %w; rename the profile or the cluster",
		desired.Namespace, desired.Name, ownerIndexValue(other), clusterref.OfSummary(other), errCollision)
}

// errCollision says that a summary's name is that of another one.
var errCollision = errors.New("two names collide")

// withdraw takes the profile back from the clusters that it no longer matches.
// The latest revision says what becomes of the content there.
func (r *Reconciler) withdraw(ctx context.Context, p profile, summary *configv1beta1.ClusterSummary, revisionName string) error {
	// Once more where the profile has changed since: its checks, or what becomes of the
	// content, may be what keeps the withdrawal from its end.
	if !summary.Spec.Withdraw || summary.Spec.ProfileRevision != revisionName {
		marked := summary.DeepCopy()
		marked.Spec.ClusterProfileSpec = configv1beta1.ProfileSpec{}
		marked.Spec.Withdraw = true
		marked.Spec.ProfileRevision = revisionName
		if err := r.Client.Update(ctx, marked); err != nil {
			return fmt.Errorf("marking ClusterSummary %s/%s for withdrawal: %w", summary.Namespace, summary.Name, err)
		}
		klog.FromContext(ctx).Info("Profile no longer matches cluster", "cluster", clusterref.OfSummary(summary))
		summary = marked
	}
	if p.spec.SyncMode == configv1beta1.SyncModeDryRun && p.GetDeletionTimestamp().IsZero() {
		return nil // what would be withdrawn is reported
	}
	return r.remove(ctx, summary)
}

// isTrial reports whether a summary is of a revision in mode DryRun, by which nothing is
// deployed or withdrawn.
func isTrial(summary *configv1beta1.ClusterSummary) bool {
	return summary.Spec.ClusterProfileSpec.SyncMode == configv1beta1.SyncModeDryRun
}

// remove deletes a summary; its finalizer keeps it until the withdrawal is done.
func (r *Reconciler) remove(ctx context.Context, summary *configv1beta1.ClusterSummary) error {
	if !summary.DeletionTimestamp.IsZero() {
		return nil
	}
	err := r.Client.Delete(ctx, summary, client.Preconditions{UID: &summary.UID})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting ClusterSummary %s/%s: %w", summary.Namespace, summary.Name, err)
	}
	return nil
}

// ownerIndex finds the summaries of a profile, by its kind and name and not by
// its UID: a profile that was made again takes over what it finds.
const ownerIndex = "owner"

func indexValue(key Key) string {
	return key.Kind + "/" + key.Namespace + "/" + key.Name
}

func ownerIndexValue(object client.Object) string {
	summary, ok := object.(*configv1beta1.ClusterSummary)
	if !ok {
		return ""
	}
	for _, key := range ownerKeys(summary) {
		return indexValue(key)
	}
	return ""
}
