// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"errors"
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
func (r *Reconciler) Drifted(of drift.Subject) {
	r.memory.due(of.NamespacedName)
	r.Trigger.Trigger(reconcile.Request{NamespacedName: of.NamespacedName})
}

// Wake has a summary looked at. It is what a drift.Tracker calls Wake.
func (r *Reconciler) Wake(of drift.Subject) {
	r.Trigger.Trigger(reconcile.Request{NamespacedName: of.NamespacedName})
}

// inCluster and onHost are what a summary has deployed to its cluster and to the host.
func inCluster(name types.NamespacedName) drift.Subject { return drift.Subject{NamespacedName: name} }
func onHost(name types.NamespacedName) drift.Subject {
	return drift.Subject{NamespacedName: name, OnHost: true}
}

// watch is what a pass on a summary's cluster that begins has to know of drift.
func (r *Reconciler) watch(name types.NamespacedName, mode configv1beta1.SyncMode) deploy.Watch {
	if r.Drift == nil || mode != configv1beta1.SyncModeContinuousWithDriftDetection {
		return deploy.Watch{}
	}
	return r.Drift.Watch(inCluster(name))
}

// watchOnHost is watch for the pass on the host that goes with one on a cluster.
func (r *Reconciler) watchOnHost(name types.NamespacedName, cluster deploy.Watch) deploy.Watch {
	if !cluster.On {
		return deploy.Watch{}
	}
	return r.Drift.Watch(onHost(name))
}

// track has what a job has deployed watched, or watched no more, and tells of what it has
// made good. Managed clusters are watched as Muster, one watch for all profiles; on the host
// each watches as who it deploys as there, and in the namespaces that it deploys to: more
// rights than for that it needs not have.
func (r *Reconciler) track(summary *configv1beta1.ClusterSummary, actor actor, watch deploy.Watch, work *localWork, done parts) {
	name := types.NamespacedName{Namespace: summary.Namespace, Name: summary.Name}
	if !watch.On {
		r.untrack(name)
		return
	}
	r.trackPart(summary, inCluster(name), drift.Target{Cluster: actor.target.Ref, Mapper: actor.target.Mapper}, watch, done.remote)
	if work == nil {
		r.Drift.Forget(onHost(name))
		return
	}
	host := drift.Target{Cluster: work.host.Ref, Mapper: work.host.Mapper, As: actor.as, Apart: true}
	r.trackPart(summary, onHost(name), host, work.request.Watch, done.local)
}

// trackPart is track for what was deployed to one cluster.
func (r *Reconciler) trackPart(summary *configv1beta1.ClusterSummary, subject drift.Subject, target drift.Target, watch deploy.Watch, result deploy.Result) {
	if result.Record == nil {
		if result.Err == nil {
			r.Drift.Forget(subject) // there is nothing that could drift
		}
		return
	}
	repaired := r.Drift.Track(subject, target, result.Record, result.Watched, watch)
	where := "in the cluster"
	if subject.OnHost {
		where = "on the host"
	}
	for _, o := range repaired {
		drift.Count(o)
		// Events about the same two objects become one, which keeps its first message.
		related := &corev1.ObjectReference{Kind: o.Object.Kind, Namespace: o.Object.Namespace, Name: o.Object.Name}
		r.Events.Eventf(summary, related, corev1.EventTypeWarning, configv1beta1.ReasonDrifted, "Repair", "%s", describeRepair(o, where))
	}
}

func describeRepair(o drift.Repaired, where string) string {
	switch {
	case o.Deleted:
		return fmt.Sprintf("%s was deleted or lost its marks %s, and was applied again", o.Object, where)
	case o.By != "":
		return fmt.Sprintf("%s was changed %s, last by field manager %q, and was applied again", o.Object, where, o.By)
	}
	return fmt.Sprintf("%s was changed %s, and was applied again", o.Object, where)
}

// untrack ends the watching of what a summary has deployed.
func (r *Reconciler) untrack(name types.NamespacedName) {
	if r.Drift != nil {
		r.Drift.Forget(inCluster(name))
		r.Drift.Forget(onHost(name))
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
	contests := append(r.Drift.Contests(inCluster(name)), r.Drift.Contests(onHost(name))...)
	failure := r.Drift.Failure(inCluster(name))
	if local := r.Drift.Failure(onHost(name)); local != nil {
		failure = errors.Join(failure, fmt.Errorf("on the host: %w", local))
	}
	condition := driftCondition(contests, failure)
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
