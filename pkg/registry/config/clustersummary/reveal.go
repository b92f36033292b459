// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/muster-project/muster/pkg/apis/config"
)

// Revisions are the specs that profiles have had. Implementations cache: every
// read of a summary asks.
type Revisions interface {
	// Get returns the spec of a revision. It is shared and must not be changed.
	// The error is a LostError where another read would find no more.
	Get(ctx context.Context, name string) (*config.ProfileSpec, error)
}

// LostError says that there is no such revision, or that it is damaged.
type LostError struct {
	Err error
}

func (e LostError) Error() string { return e.Err.Error() }

// Unwrap returns what is the matter.
func (e LostError) Unwrap() error { return e.Err }

// ConditionRevisionAvailable is False on a summary whose profile's spec cannot
// be shown. It is computed with each read, and absent where all is well; one
// that somebody has stored is not shown.
const ConditionRevisionAvailable = "ProfileRevisionAvailable"

const reasonRevisionUnavailable = "RevisionUnavailable"

// revealer shows the profiles' specs in summaries. Storage, its watch cache
// above all, keeps the objects that it hands out: their structs are copies,
// what these point to is not. So a revealer assigns fields, and writes to
// nothing that it was given.
type revealer struct {
	revisions Revisions
}

// object shows the specs in what a storage method has returned: a summary, a
// list of them, or a Status, which is left alone.
func (r revealer) object(ctx context.Context) func(runtime.Object, error) (runtime.Object, error) {
	return func(obj runtime.Object, err error) (runtime.Object, error) {
		if err != nil {
			return obj, err
		}
		switch typed := obj.(type) {
		case *config.ClusterSummary:
			err = r.summary(ctx, typed)
		case *config.ClusterSummaryList:
			once := revealer{&readOnce{Revisions: r.revisions, read: map[string]answer{}}}
			for i := range typed.Items {
				if err = once.summary(ctx, &typed.Items[i]); err != nil {
					break
				}
			}
		}
		if err != nil {
			return nil, apierrors.NewServiceUnavailable(err.Error())
		}
		return obj, nil
	}
}

// readOnce reads each revision of one list once, in however many summaries it is,
// and however many there are: the cache behind it is for the fleet's common ones,
// and in the order of clusters a list with more of them would find none in it.
type readOnce struct {
	Revisions
	read map[string]answer
}

type answer struct {
	spec *config.ProfileSpec
	err  error
}

func (o *readOnce) Get(ctx context.Context, name string) (*config.ProfileSpec, error) {
	known, ok := o.read[name]
	if !ok {
		known.spec, known.err = o.Revisions.Get(ctx, name)
		o.read[name] = known
	}
	return known.spec, known.err
}

// summary shows the spec of one. One whose revision is lost says so, and spoils
// no list. One whose revision cannot be read now is not shown at all: whoever
// took it would take it for that of a profile that deploys nothing, checks
// nothing and depends on nothing, and a cache would keep it so.
func (r revealer) summary(ctx context.Context, summary *config.ClusterSummary) error {
	summary.Status.Conditions = without(summary.Status.Conditions, ConditionRevisionAvailable)
	if summary.Spec.ProfileRevision == "" {
		return nil
	}
	spec, err := r.revisions.Get(ctx, summary.Spec.ProfileRevision)
	if err == nil {
		summary.Spec.ClusterProfileSpec = *spec
		return nil
	}
	if !errors.As(err, &LostError{}) {
		return fmt.Errorf("read revision %s of the profile: %w", summary.Spec.ProfileRevision, err)
	}
	summary.Status.Conditions = append(slices.Clip(summary.Status.Conditions), metav1.Condition{
		Type:               ConditionRevisionAvailable,
		Status:             metav1.ConditionFalse,
		Reason:             reasonRevisionUnavailable,
		Message:            fmt.Sprintf("clusterProfileSpec cannot be shown: %v", err),
		ObservedGeneration: summary.Generation,
		LastTransitionTime: summary.CreationTimestamp,
	})
	return nil
}

// without leaves one type of condition out of a copy, if it is there.
func without(conditions []metav1.Condition, conditionType string) []metav1.Condition {
	if meta.FindStatusCondition(conditions, conditionType) == nil {
		return conditions
	}
	return slices.DeleteFunc(slices.Clone(conditions), func(c metav1.Condition) bool { return c.Type == conditionType })
}

// watch shows the specs in a watch's events. With three watches or more the
// cache sends objects that hold their own encoded form, made before anybody
// could have changed them: those are replaced by what they hold. A watch ends
// where one cannot be shown; its client then lists anew.
func (r revealer) watch(ctx context.Context, events watch.Interface) watch.Interface {
	failed := false
	return watch.Filter(events, func(event watch.Event) (watch.Event, bool) {
		if failed {
			return event, false
		}
		if event.Type == watch.Error || event.Type == watch.Bookmark {
			return event, true
		}
		if cached, ok := event.Object.(runtime.CacheableObject); ok {
			event.Object = cached.GetObject()
		}
		if summary, ok := event.Object.(*config.ClusterSummary); ok {
			if err := r.summary(ctx, summary); err != nil {
				failed = true
				events.Stop()
				return watch.Event{Type: watch.Error, Object: &apierrors.NewServiceUnavailable(err.Error()).ErrStatus}, true
			}
		}
		return event, true
	})
}
