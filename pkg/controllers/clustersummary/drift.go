// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/drift"
)

// Drifted makes a summary due because something that it has deployed was changed. It is
// what a drift.Tracker calls Due.
func (r *Reconciler) Drifted(name types.NamespacedName) {
	r.memory.due(name)
	r.Trigger.Trigger(reconcile.Request{NamespacedName: name})
}

// Wake has a summary looked at. It is what a drift.Tracker calls Wake.
func (r *Reconciler) Wake(name types.NamespacedName) {
	r.Trigger.Trigger(reconcile.Request{NamespacedName: name})
}

// watch is what a pass that begins has to know of drift.
func (r *Reconciler) watch(name types.NamespacedName, mode configv1beta1.SyncMode) deploy.Watch {
	if r.Drift == nil || mode != configv1beta1.SyncModeContinuousWithDriftDetection {
		return deploy.Watch{}
	}
	return r.Drift.Watch(name)
}

// track has what a pass has deployed watched, or watched no more, and tells of what it has
// made good.
func (r *Reconciler) track(summary *configv1beta1.ClusterSummary, target deploy.Cluster, watch deploy.Watch, result deploy.Result) {
	name := types.NamespacedName{Namespace: summary.Namespace, Name: summary.Name}
	if !watch.On {
		r.untrack(name)
		return
	}
	if result.Record == nil {
		if result.Err == nil {
			r.untrack(name) // there is nothing that could drift
		}
		return
	}
	repaired := r.Drift.Track(name, target.Ref, target.Mapper, result.Record, result.Watched, watch)
	for _, o := range repaired {
		drift.Count(o)
		// Events about the same two objects become one, which keeps its first message.
		related := &corev1.ObjectReference{Kind: o.Object.Kind, Namespace: o.Object.Namespace, Name: o.Object.Name}
		r.Events.Eventf(summary, related, corev1.EventTypeWarning, configv1beta1.ReasonDrifted, "Repair", "%s", describeRepair(o))
	}
}

func describeRepair(o drift.Repaired) string {
	switch {
	case o.Deleted:
		return fmt.Sprintf("%s was deleted or lost its marks in the cluster, and was applied again", o.Object)
	case o.By != "":
		return fmt.Sprintf("%s was changed in the cluster, last by field manager %q, and was applied again", o.Object, o.By)
	}
	return fmt.Sprintf("%s was changed in the cluster, and was applied again", o.Object)
}

// untrack ends the watching of what a summary has deployed.
func (r *Reconciler) untrack(name types.NamespacedName) {
	if r.Drift != nil {
		r.Drift.Forget(name)
	}
}

// setDrift says whether others change what is deployed again and again, while drift is
// looked for.
func (r *Reconciler) setDrift(status *configv1beta1.ClusterSummaryStatus, summary *configv1beta1.ClusterSummary) {
	if r.Drift == nil || summary.Spec.ClusterProfileSpec.SyncMode != configv1beta1.SyncModeContinuousWithDriftDetection {
		meta.RemoveStatusCondition(&status.Conditions, configv1beta1.ConditionDriftContested)
		return
	}
	name := types.NamespacedName{Namespace: summary.Namespace, Name: summary.Name}
	condition := driftCondition(r.Drift.Contests(name), r.Drift.Failure(name))
	condition.ObservedGeneration = summary.Generation
	was := meta.FindStatusCondition(status.Conditions, condition.Type)
	contested := condition.Status == metav1.ConditionTrue && (was == nil || was.Status != metav1.ConditionTrue)
	meta.SetStatusCondition(&status.Conditions, condition)
	if contested {
		r.Events.Eventf(summary, nil, corev1.EventTypeWarning, condition.Reason, "Repair", "%s", condition.Message)
	}
}

func driftCondition(contests []drift.Contest, failure error) metav1.Condition {
	condition := metav1.Condition{Type: configv1beta1.ConditionDriftContested}
	switch {
	case len(contests) > 0:
		var at []string
		for _, c := range contests {
			at = append(at, describeContest(c))
		}
		condition.Status, condition.Reason = metav1.ConditionTrue, configv1beta1.ReasonContested
		condition.Message = bounded("Repairs of these are made at growing intervals, because each is undone. " +
			"Have the profile leave the field to whoever it is, by driftExclusions, or stop them: " + strings.Join(at, "; "))
	case failure != nil:
		condition.Status, condition.Reason = metav1.ConditionUnknown, configv1beta1.ReasonNotWatched
		condition.Message = bounded("Drift of some objects is not noticed at the moment: " + failure.Error())
	default:
		condition.Status, condition.Reason = metav1.ConditionFalse, configv1beta1.ReasonNotContested
	}
	return condition
}

// describeContest says nothing that changes with each repair: the status would be written
// as often.
func describeContest(c drift.Contest) string {
	what := "changed"
	if c.Deleted {
		what = "deleted"
	}
	if c.By == "" {
		return fmt.Sprintf("%s is %s", c.Object, what)
	}
	return fmt.Sprintf("%s is %s by field manager %q", c.Object, what, c.By)
}

// exclusions compiles a profile's driftExclusions, nil if it has none.
func exclusions(spec *configv1beta1.ProfileSpec) (func(*unstructured.Unstructured) []string, error) {
	if len(spec.DriftExclusions) == 0 {
		return nil, nil
	}
	type exclusion struct {
		paths   []string
		selects func(*unstructured.Unstructured) bool
	}
	all := make([]exclusion, 0, len(spec.DriftExclusions))
	for i, e := range spec.DriftExclusions {
		selects, err := patchTarget(e.Target).Selects()
		if err != nil {
			return nil, fmt.Errorf("driftExclusions[%d]: %w", i, err)
		}
		all = append(all, exclusion{e.Paths, selects})
	}
	return func(object *unstructured.Unstructured) []string {
		var paths []string
		for _, e := range all {
			if e.selects(object) {
				paths = append(paths, e.paths...)
			}
		}
		slices.Sort(paths)
		return slices.Compact(paths)
	}, nil
}
