// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/live"
	"github.com/muster-project/muster/pkg/deploy/mask"
)

// applyAttempts bounds how often an object is looked at anew because it was
// replaced between looking and applying.
const applyAttempts = 3

// servedRetry is the pause between two tries to reach a kind that a CRD has
// just established. There is nothing to watch: the handler is behind its own
// cache, by milliseconds.
const servedRetry = 50 * time.Millisecond

// applier applies the objects of one list, in order, by one goroutine.
type applier struct {
	deployer    *Deployer
	cluster     Cluster
	owner       inventory.Owner
	kinds       *kinds
	established map[string]bool // CRDs by name
}

// applied is an object as it is in the cluster after it was applied.
type applied struct {
	uid  types.UID
	time metav1.Time
	// fields and resourceVersion are as in inventory.Object.
	fields, resourceVersion string
}

// apply brings one object to the cluster.
func (a *applier) apply(ctx context.Context, s objectStep) (applied, error) {
	result, err := a.applyServed(ctx, s)
	var conflict *ConflictError
	if errors.As(err, &conflict) {
		return applied{}, conflict // it says all of it
	}
	if err != nil {
		return applied{}, fmt.Errorf("applying %s to %s: %w", s.key, a.cluster.Ref, mask.Error(err, secretsOf(s)))
	}
	if isCRD(s.key) {
		// Whoever else asks for the kind shall not be told that there is none.
		a.cluster.Mapper.Reset()
	}
	return result, nil
}

// secretsOf are the strings that no error about an object may quote.
func secretsOf(s objectStep) []string {
	if s.source.Kind == "Secret" || s.source.Private {
		return mask.Content(s.content)
	}
	return mask.Values(s.content)
}

// applyServed applies an object, once its kind is served.
func (a *applier) applyServed(ctx context.Context, s objectStep) (applied, error) {
	gk := schema.GroupKind{Group: s.key.Group, Kind: s.key.Kind}
	defined, isDefined := a.kinds.defined[gk]
	if isDefined {
		if err := a.awaitEstablished(ctx, defined.crd); err != nil {
			return applied{}, err
		}
	}
	client, err := a.kinds.resource(s.key, s.version)
	if err != nil {
		return applied{}, err
	}
	deadline := a.deployer.options.Now().Add(a.deployer.options.EstablishTimeout)
	for {
		result, err := a.applyTo(ctx, client, s)
		if err == nil {
			return result, a.sendSubresources(ctx, client, s, result.uid)
		}
		if !isDefined || !isNotServed(err) || a.deployer.options.Now().After(deadline) {
			return result, err
		}
		select {
		case <-ctx.Done():
			return applied{}, errors.Join(ctx.Err(), err)
		case <-time.After(servedRetry):
		}
	}
}

// isNotServed reports whether a 404 is about the resource, not about an object
// or namespace.
func isNotServed(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details == nil || details.Name == "" || apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// applyTo applies an object under the identity that it was decided on: the UID
// goes into the request, so that another object that took the name meanwhile
// is looked at first.
func (a *applier) applyTo(ctx context.Context, client dynamic.ResourceInterface, s objectStep) (applied, error) {
	uid := types.UID("")
	if s.before != nil {
		uid = s.before.UID
	}
	var err error
	for range applyAttempts {
		if uid == "" {
			if uid, err = a.adopt(ctx, client, s); err != nil {
				return applied{}, err
			}
		}
		var accepted *unstructured.Unstructured
		if accepted, err = a.send(ctx, client, s, uid); err == nil {
			accepted, err = a.handOver(ctx, client, s, accepted)
		}
		if err == nil {
			return a.accepted(accepted)
		}
		if apierrors.IsInvalid(err) && uid != "" && recreates(s) {
			return a.recreate(ctx, client, s, uid, err)
		}
		if !apierrors.IsConflict(err) {
			return applied{}, err
		}
		uid = ""
	}
	return applied{}, err
}

// accepted checks what the server answered to an apply.
func (a *applier) accepted(obj *unstructured.Unstructured) (applied, error) {
	if obj.GetDeletionTimestamp() != nil {
		// It took the fields and will be gone all the same.
		return applied{}, fmt.Errorf("the object is being deleted%s; it is applied again when it is gone", live.HeldBy(obj))
	}
	return applied{
		uid: obj.GetUID(), time: metav1.NewTime(a.deployer.options.Now()),
		fields: fieldsOf(obj), resourceVersion: obj.GetResourceVersion(),
	}, nil
}

// adopt looks at what has the object's name, and returns its UID if it may be
// applied to, "" if nothing has the name. Annotations count here, because no
// inventory names the object.
func (a *applier) adopt(ctx context.Context, client dynamic.ResourceInterface, s objectStep) (types.UID, error) {
	found, err := client.Get(ctx, s.key.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && !isNotServed(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	marked, ok := markedOwner(found, a.cluster.Ref.Namespace)
	// On the host, what does not say for which cluster it is was made by Sveltos.
	if !ok || marked == a.owner.Key() || marked == a.owner.Key().Profile() || s.before != nil && slices.Contains(s.before.FormerOwners, marked) {
		return found.GetUID(), nil
	}
	exists, err := a.deployer.options.OwnerExists(ctx, marked)
	if err != nil {
		return "", fmt.Errorf("looking for its owner %s: %w", marked, err)
	}
	if exists {
		return "", &ConflictError{Cluster: a.cluster.Ref, Object: s.key.String(), Owner: marked}
	}
	return found.GetUID(), nil
}

// send makes the server-side apply, and makes the namespace if there is none.
func (a *applier) send(ctx context.Context, client dynamic.ResourceInterface, s objectStep, uid types.UID) (*unstructured.Unstructured, error) {
	obj := s.content.DeepCopy()
	obj.SetNamespace(s.key.Namespace)
	if err := a.leaveOut(ctx, client, s, uid, obj); err != nil {
		return nil, err
	}
	mark(obj, a.owner, s.feature, s.source, s.hash)
	if uid != "" {
		obj.SetUID(uid)
	}
	options := metav1.ApplyOptions{FieldManager: FieldManager, Force: true}
	accepted, err := client.Apply(ctx, s.key.Name, obj, options)
	if s.skipNamespace || !isNamespaceMissing(err) {
		return accepted, err
	}
	if err := a.createNamespace(ctx, s.key.Namespace); err != nil {
		return nil, err
	}
	return client.Apply(ctx, s.key.Name, obj, options)
}

// isNamespaceMissing reports whether a write failed for want of its namespace.
func isNamespaceMissing(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details != nil && details.Group == "" && details.Kind == "namespaces"
}

// createNamespace makes a namespace that no profile owns. It stays when what is
// in it goes: others may have come to use it.
func (a *applier) createNamespace(ctx context.Context, name string) error {
	namespace := &unstructured.Unstructured{}
	namespace.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: namespaceKind})
	namespace.SetName(name)
	_, err := a.cluster.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).
		Create(ctx, namespace, metav1.CreateOptions{FieldManager: FieldManager})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("creating namespace %s: %w", name, err)
	}
	return nil
}

// awaitEstablished waits until a CRD of the request is served.
func (a *applier) awaitEstablished(ctx context.Context, name string) error {
	if a.established[name] {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, a.deployer.options.EstablishTimeout)
	defer cancel()
	client := a.cluster.Dynamic.Resource(schema.GroupVersionResource{Group: crdGroup, Version: "v1", Resource: "customresourcedefinitions"})
	err := live.Await(ctx, client, name, live.Established)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s %s was not established within %s: %w", crdKind, name, a.deployer.options.EstablishTimeout, err)
	}
	if err != nil {
		return fmt.Errorf("waiting for %s %s to be established: %w", crdKind, name, err)
	}
	a.established[name] = true
	return nil
}
