// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hosttest makes fake host clusters for tests, in which a write is
// refused where its resourceVersion is not the object's, as a real API server
// does it and client-go's fakes do not.
package hosttest

import (
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// New returns a client of a host that holds objects.
func New(objects ...runtime.Object) *fake.Clientset {
	client := fake.NewClientset(objects...)
	Guard(&client.Fake, client.Tracker())
	return client
}

// Guard makes a fake refuse writes by resourceVersion. A write without one is
// taken as it is.
func Guard(host *clienttesting.Fake, tracker clienttesting.ObjectTracker) {
	g := &guard{tracker: tracker}
	host.PrependReactor("create", "*", g.create)
	host.PrependReactor("update", "*", g.update)
}

type guard struct {
	tracker clienttesting.ObjectTracker
	mu      sync.Mutex
	version int
}

func (g *guard) create(action clienttesting.Action) (bool, runtime.Object, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	object := action.(clienttesting.CreateAction).GetObject().DeepCopyObject()
	if err := g.stamp(object); err != nil {
		return true, nil, err
	}
	if err := g.tracker.Create(action.GetResource(), object, action.GetNamespace()); err != nil {
		return true, nil, err
	}
	return true, object, nil
}

func (g *guard) update(action clienttesting.Action) (bool, runtime.Object, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	object := action.(clienttesting.UpdateAction).GetObject().DeepCopyObject()
	updated, err := meta.Accessor(object)
	if err != nil {
		return true, nil, err
	}
	stored, err := g.tracker.Get(action.GetResource(), action.GetNamespace(), updated.GetName())
	if err != nil {
		return true, nil, err
	}
	current, err := meta.Accessor(stored)
	if err != nil {
		return true, nil, err
	}
	if v := updated.GetResourceVersion(); v != "" && v != current.GetResourceVersion() {
		return true, nil, apierrors.NewConflict(action.GetResource().GroupResource(), updated.GetName(), nil)
	}
	if err := g.stamp(object); err != nil {
		return true, nil, err
	}
	if err := g.tracker.Update(action.GetResource(), object, action.GetNamespace()); err != nil {
		return true, nil, err
	}
	return true, object, nil
}

// stamp gives an object the next resourceVersion.
func (g *guard) stamp(object runtime.Object) error {
	accessor, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	g.version++
	accessor.SetResourceVersion(strconv.Itoa(g.version))
	return nil
}
