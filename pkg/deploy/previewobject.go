// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/live"
	"github.com/muster-project/muster/pkg/deploy/mask"
)

// object says what would become of one wanted object. Its error is of the cluster, which
// does not answer; what it refuses is in the change.
func (v *previewer) object(ctx context.Context, s objectStep) (ObjectChange, error) {
	change := ObjectChange{
		ObjectKey: s.key, Version: s.version, Feature: s.feature, Action: ActionNone, IgnoreDrift: ignoresDrift(s.content),
	}
	if s.before != nil {
		change.LastAppliedTime = s.before.LastAppliedTime
	}
	switch s.verdict {
	case verdictConflict:
		change.Action, change.Message = ActionConflict, s.conflict.Error()
		return change, nil
	case verdictOverridden:
		change.Message = "a reference with a lower tier holds it as well"
		return change, nil
	case verdictSkip:
		change.Message = "stands behind a conflict, which stops its list"
		return change, nil
	}
	err := v.tryApply(ctx, s, &change)
	if err != nil && (IsUnreachable(err) || ctx.Err() != nil) {
		return change, fmt.Errorf("trying %s on %s: %w", s.key, v.cluster.Ref, mask.Error(err, secretsOf(s)))
	}
	var conflict *ConflictError
	switch {
	case errors.As(err, &conflict):
		change.Action, change.Message = ActionConflict, conflict.Error()
	case err != nil:
		change.Action, change.Message = ActionError, mask.Text(err.Error(), secretsOf(s))
	}
	return change, nil
}

// tryApply applies an object without effect, and says what that would change.
func (v *previewer) tryApply(ctx context.Context, s objectStep, change *ObjectChange) error {
	defined, isDefined := v.kinds.defined[schema.GroupKind{Group: s.key.Group, Kind: s.key.Kind}]
	client, err := v.kinds.resource(s.key, s.version)
	if err != nil {
		return err
	}
	found, err := client.Get(ctx, s.key.Name, metav1.GetOptions{})
	switch {
	case isNotServed(err) && isDefined:
		change.Action, change.Message = ActionCreate, fmt.Sprintf("its kind is made first, by %s %s", crdKind, defined.crd)
		return nil
	case apierrors.IsNotFound(err) && !isNotServed(err):
		found = nil
	case err != nil:
		return err
	}
	if found != nil && (s.before == nil || s.before.UID != found.GetUID()) {
		apply := &applier{deployer: v.deployer, cluster: v.cluster, owner: v.request.Owner, kinds: v.kinds}
		if _, err := apply.adopt(ctx, client, s); err != nil {
			return err
		}
	}
	accepted, err := v.dryRun(ctx, client, s, found)
	if message, ok := v.untried(s, err); ok {
		return fillIn(change, s, found, overlaid(found, s.content), message)
	}
	if err != nil {
		return err
	}
	return fillIn(change, s, found, accepted, "")
}

// dryRun makes the apply that a pass would make, without effect.
func (v *previewer) dryRun(ctx context.Context, client dynamic.ResourceInterface, s objectStep, found *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	obj := s.content.DeepCopy()
	obj.SetNamespace(s.key.Namespace)
	mark(obj, v.request.Owner, s.feature, s.source, s.hash)
	if found != nil {
		obj.SetUID(found.GetUID())
	}
	return client.Apply(ctx, s.key.Name, obj, metav1.ApplyOptions{FieldManager: FieldManager, Force: true, DryRun: []string{metav1.DryRunAll}})
}

// untried tells refusals that only a dry run meets from those that an apply would meet
// as well.
func (v *previewer) untried(s objectStep, err error) (message string, ok bool) {
	switch {
	case err == nil:
		return "", false
	case isNamespaceMissing(err) && (!s.skipNamespace || v.makes(inventory.ObjectKey{Kind: namespaceKind, Name: s.key.Namespace})):
		return fmt.Sprintf("namespace %s is made first", s.key.Namespace), true
	case apierrors.IsBadRequest(err) && strings.Contains(err.Error(), "does not support dry run"):
		// "admission webhook NAME does not support dry run"
		return mask.Text(err.Error(), secretsOf(s)) + ": what it would change or deny is not known", true
	}
	return "", false
}

// makes reports whether the plan has an object.
func (v *previewer) makes(key inventory.ObjectKey) bool {
	for _, s := range v.plan.objects {
		if s.key == key && s.verdict == verdictApply {
			return true
		}
	}
	return false
}

// overlaid is what an apply would make of an object as far as that can be said without
// the server.
func overlaid(found, content *unstructured.Unstructured) *unstructured.Unstructured {
	if found == nil {
		return content
	}
	return &unstructured.Unstructured{Object: overlay(found.Object, content.Object)}
}

func overlay(under, over map[string]any) map[string]any {
	out := make(map[string]any, len(under)+len(over))
	for key, value := range under {
		out[key] = value
	}
	for key, value := range over {
		below, belowIsMap := out[key].(map[string]any)
		above, aboveIsMap := value.(map[string]any)
		if belowIsMap && aboveIsMap {
			value = overlay(below, above)
		}
		out[key] = value
	}
	return out
}

// fillIn fills in the action and its diff.
func fillIn(change *ObjectChange, s objectStep, found, then *unstructured.Unstructured, note string) error {
	before, after := withoutServerFields(found, s.excluded), withoutServerFields(then, s.excluded)
	switch {
	case found == nil:
		change.Action = ActionCreate
	case apiequality.Semantic.DeepEqual(before, after):
		change.Action, change.Message = ActionNone, note
		return nil
	default:
		change.Action = ActionUpdate
	}
	text, err := unifiedDiff(s.key.String(), before, after, s.source.Kind == "Secret" || s.source.Private)
	if err != nil {
		return err
	}
	if note != "" {
		text = note + "\n" + text
	}
	change.Message = text
	return nil
}

// withoutServerFields is an object without what a server adds by itself; nil stays nil.
func withoutServerFields(found *unstructured.Unstructured, excluded []string) map[string]any {
	if found == nil {
		return nil
	}
	object := found.DeepCopy()
	for _, field := range serverFields() {
		unstructured.RemoveNestedField(object.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(object.Object, "status")
	annotations := object.GetAnnotations()
	delete(annotations, HashAnnotation)
	delete(annotations, lastAppliedAnnotation)
	object.SetAnnotations(annotations)
	live.Without(object.Object, excluded)
	return object.Object
}

// lastAppliedAnnotation is kubectl's copy of the whole object.
const lastAppliedAnnotation = "kubectl.kubernetes.io/last-applied-configuration"
