// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/test/fleet"
)

// contentResources are the kinds of the objects beside the release.
func contentResources() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{
		{Version: "v1", Resource: "configmaps"},
		{Group: "chaos.example.org", Version: "v1", Resource: "colors"},
		{Group: "chaos.example.org", Version: "v1", Resource: "shapes"},
		{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
	}
}

// objects are all in the cluster that bear Muster's mark.
func (d *deployments) objects(ctx context.Context) ([]unstructured.Unstructured, error) {
	var objects []unstructured.Unstructured
	for _, resource := range contentResources() {
		list, err := d.dynamic[d.active].Resource(resource).List(ctx, metav1.ListOptions{LabelSelector: deploy.ReasonLabel})
		if apierrors.IsNotFound(err) {
			continue // its kind is not there
		}
		if err != nil {
			return nil, err
		}
		objects = append(objects, list.Items...)
	}
	return objects, nil
}

// nameOf is how inventories call an object.
func nameOf(object *unstructured.Unstructured) string {
	path := object.GetName()
	if namespace := object.GetNamespace(); namespace != "" {
		path = namespace + "/" + path
	}
	return object.GroupVersionKind().Group + ":" + object.GetKind() + " " + path
}

// hasObjects checks that the cluster has these objects, each of the same edition, and no
// other that Muster has made.
func (d *deployments) hasObjects(ctx context.Context, number int, want []string) error {
	objects, err := d.objects(ctx)
	if err != nil {
		return err
	}
	var found []string
	for i := range objects {
		found = append(found, nameOf(&objects[i]))
		if objects[i].GetDeletionTimestamp() != nil {
			return fmt.Errorf("%s is being deleted", nameOf(&objects[i]))
		}
		edition, known, err := unstructured.NestedString(objects[i].Object, "data", "edition")
		if err != nil || known && edition != strconv.Itoa(number) {
			return fmt.Errorf("%s is of edition %s, want %d: %w", nameOf(&objects[i]), edition, number, err)
		}
	}
	return sameNames("the cluster", found, want)
}

// inventoried checks that the inventories name these objects and releases for this
// owner, and no other.
func (d *deployments) inventoried(ctx context.Context, owner string, want []string) error {
	client, err := d.anyReplica()
	if err != nil {
		return err
	}
	addons, err := client.ConfigV1beta1().Addons("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var found []string
	for _, addon := range addons.Items {
		path := addon.Name
		if addon.Namespace != "" {
			path = addon.Namespace + "/" + path
		}
		found = append(found, addon.ResourceType+" "+path)
		if !slices.Equal(addon.Profiles, []string{"ClusterProfile/" + owner}) {
			return fmt.Errorf("%s %s is of %q, want %s", addon.ResourceType, path, addon.Profiles, owner)
		}
	}
	return sameNames("the inventory", found, want)
}

// sameNames says what there is too much and too little of.
func sameNames(where string, found, want []string) error {
	var wrong []string
	for _, name := range found {
		if !slices.Contains(want, name) {
			wrong = append(wrong, "too much: "+name)
		}
	}
	for _, name := range want {
		if !slices.Contains(found, name) {
			wrong = append(wrong, "missing: "+name)
		}
	}
	if len(found) > len(want) && len(wrong) == 0 {
		wrong = append(wrong, "something twice")
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s: %s", where, strings.Join(wrong, ", "))
	}
	return nil
}

// identities are the UIDs of everything that is deployed.
func (d *deployments) identities(ctx context.Context) (map[string]string, error) {
	objects, err := d.objects(ctx)
	if err != nil {
		return nil, err
	}
	state, err := d.release(ctx, d.active)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, object := range slices.Concat(objects, state.objects) {
		found[nameOf(&object)] = string(object.GetUID())
	}
	return found, nil
}

// summariesOf are those of a profile.
func (d *deployments) summariesOf(ctx context.Context, profile string) ([]configv1beta1.ClusterSummary, error) {
	client, err := d.anyReplica()
	if err != nil {
		return nil, err
	}
	all, err := client.ConfigV1beta1().ClusterSummaries(name).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all.Items, func(s configv1beta1.ClusterSummary) bool { return !isOf(&s, profile) }), nil
}

func isOf(summary *configv1beta1.ClusterSummary, profile string) bool {
	owner := metav1.GetControllerOf(summary)
	return owner != nil && owner.Name == profile
}

// provisioned checks that a summary is about an edition, and that all of it is deployed.
func provisioned(summary *configv1beta1.ClusterSummary, of edition) error {
	charts := summary.Spec.ClusterProfileSpec.HelmCharts
	if len(charts) != 1 || charts[0].Values != "color: "+of.wanted().color {
		return errors.New("the summary is about another edition")
	}
	if features := summary.Status.FeatureSummaries; len(features) != 3 {
		return fmt.Errorf("the status has %d lists", len(features))
	}
	for _, feature := range summary.Status.FeatureSummaries {
		if feature.Status != configv1beta1.FeatureStatusProvisioned {
			return fmt.Errorf("%s is %s", feature.FeatureID, feature.Status)
		}
	}
	return isReady(summary)
}

// isReady checks that a summary has been deployed as it is now.
func isReady(summary *configv1beta1.ClusterSummary) error {
	ready := meta.FindStatusCondition(summary.Status.Conditions, configv1beta1.ConditionReady)
	if ready == nil || ready.Status != metav1.ConditionTrue || ready.ObservedGeneration != summary.Generation {
		return fmt.Errorf("of generation %d it is ready: %v", summary.Generation, ready)
	}
	return nil
}

// isProvisioned checks what Muster says of an edition of a profile.
func (d *deployments) isProvisioned(ctx context.Context, profile string, of edition) error {
	summaries, err := d.summariesOf(ctx, profile)
	if err != nil {
		return err
	}
	if len(summaries) != 1 {
		return fmt.Errorf("%s has %d summaries", profile, len(summaries))
	}
	return provisioned(&summaries[0], of)
}

// conflicts is a check that a profile knows that another one has what it wants.
func (d *deployments) conflicts(profile string) func(context.Context) error {
	return func(ctx context.Context) error {
		summaries, err := d.summariesOf(ctx, profile)
		if err != nil {
			return err
		}
		if len(summaries) != 1 || len(summaries[0].Status.FeatureSummaries) != 3 {
			return fmt.Errorf("%s has not been deployed", profile)
		}
		releases := summaries[0].Status.HelmReleaseSummaries
		if len(releases) != 1 || releases[0].Status != configv1beta1.HelmChartStatusConflict {
			return fmt.Errorf("the releases of %s are %v", profile, releases)
		}
		return nil
	}
}

// expectNothingElseDeleted reads from the cluster's audit log what Muster has deleted in
// the changes of a round.
func (d *deployments) expectNothingElseDeleted(t *testing.T) {
	t.Helper()
	began := d.changes[0].began
	events, err := d.fleet.Managed(d.active).AuditEvents(func(event *auditv1.Event) bool {
		return fleet.IsWrite(event) && strings.HasPrefix(event.Verb, "delete") && event.ObjectRef != nil &&
			userAgent.MatchString(event.UserAgent) && event.RequestReceivedTimestamp.After(began)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(events) == 0 {
		t.Error("the audit log has no delete of a round that ends with a withdrawal")
	}
	for _, event := range events {
		deleted := event.ObjectRef.Resource + " " + event.ObjectRef.Namespace + "/" + event.ObjectRef.Name
		in := slices.IndexFunc(d.changes, func(c change) bool { return event.RequestReceivedTimestamp.Time.Before(c.ended) })
		switch {
		case in < 0:
			t.Errorf("after everything was as it should be: %s was deleted by %s", deleted, event.UserAgent)
		case !d.changes[in].mayDelete.MatchString(deleted):
			t.Errorf("%s: %s was deleted by %s", d.changes[in].fault, deleted, event.UserAgent)
		}
	}
}
