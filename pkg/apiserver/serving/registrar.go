// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregatorclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
	aggregatorinformers "k8s.io/kube-aggregator/pkg/client/informers/externalversions/apiregistration/v1"
	aggregatorlisters "k8s.io/kube-aggregator/pkg/client/listers/apiregistration/v1"
)

var customResourceDefinitions = schema.GroupVersionResource{
	Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
}

// Registrar keeps our APIServices true: their caBundle, and a warning on them
// when CustomResourceDefinitions of our groups turn up. It makes and deletes
// no APIService; those belong to whoever installed Muster.
type Registrar struct {
	// Host reads and writes events on the host, Aggregator the APIServices,
	// Metadata the names of CustomResourceDefinitions. All are required.
	Host       kubernetes.Interface
	Aggregator aggregatorclient.Interface
	Metadata   metadata.Interface

	// Service is ours: an APIService that leads elsewhere is never written.
	Service Service
	// Groups are the API groups that we serve.
	Groups []string
	// Certificate, where set, is what we serve with, and what the caBundle
	// follows. Without it (files were given) the caBundle is left alone.
	Certificate *Certificate
}

// Preflight returns a *ForeignError if something else on the host serves one
// of our groups. Absent APIServices are fine: they may be created later.
func (r *Registrar) Preflight(ctx context.Context) error {
	list, err := r.Aggregator.ApiregistrationV1().APIServices().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("read the host's APIServices to see who serves our groups: %w", err)
	}
	registrations := make([]*apiregistration.APIService, len(list.Items))
	for i := range list.Items {
		registrations[i] = &list.Items[i]
	}
	return preflight(registrations, r.Groups, r.Service)
}

// Run follows the certificate and the host until ctx is done and its watches
// have ended.
func (r *Registrar) Run(ctx context.Context) error {
	changed := newSignal()
	if r.Certificate != nil {
		r.Certificate.AddListener(changed)
	}
	registrations := aggregatorinformers.NewAPIServiceInformer(r.Aggregator, 0, nil)
	definitions := metadatainformer.NewFilteredMetadataInformer(r.Metadata, customResourceDefinitions, metav1.NamespaceAll, 0, nil, nil).Informer()
	if err := definitions.SetTransform(nameOnly); err != nil {
		return fmt.Errorf("watch CustomResourceDefinitions: %w", err)
	}

	var watching sync.WaitGroup
	defer watching.Wait()
	for _, informer := range []cache.SharedIndexInformer{registrations, definitions} {
		if _, err := informer.AddEventHandler(changed.handler()); err != nil {
			return fmt.Errorf("watch the host's registrations: %w", err)
		}
		watching.Go(func() { informer.RunWithContext(ctx) })
	}

	watch := &registrationWatch{
		Registrar:     r,
		registrations: aggregatorlisters.NewAPIServiceLister(registrations.GetIndexer()),
		definitions:   definitions,
	}
	retry := time.NewTimer(retryAfter)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-retry.C:
		}
		if !registrations.HasSynced() || !definitions.HasSynced() {
			// A part of the truth would pass for all of it.
			retry.Reset(time.Second)
			continue
		}
		retry.Reset(watch.sync(ctx))
	}
}

// registrationWatch is the state of one Run.
type registrationWatch struct {
	*Registrar
	registrations aggregatorlisters.APIServiceLister
	definitions   cache.SharedIndexInformer
	reported      string
}

// sync brings every APIService of ours up to date and returns when to do so
// again, if nothing happens before. What fails is logged.
func (w *registrationWatch) sync(ctx context.Context) time.Duration {
	logger := klog.FromContext(ctx)
	all, err := w.registrations.List(labels.Everything())
	if err != nil {
		logger.Error(err, "APIServices could not be listed")
		return retryAfter
	}
	next := renewalCheck
	if err := preflight(all, w.Groups, w.Service); err != nil && err.Error() != w.reported {
		logger.Error(err, "Another server has taken over one of our API groups")
		w.reported = err.Error()
	}

	w.tellPublished(all)
	found := shadowed(w.definitions.GetStore().ListKeys(), w.Groups)
	recordShadowed(w.Groups, found)
	for _, registration := range all {
		if !slices.Contains(w.Groups, registration.Spec.Group) || !w.Service.owns(registration) {
			continue
		}
		changes, err := w.keepBundle(ctx, registration)
		if err != nil {
			logger.Error(err, "The caBundle could not be kept up to date", "apiService", klog.KObj(registration))
			changes = retryAfter
		}
		next = min(next, changes)
		if err := w.keepCondition(ctx, registration, found); err != nil {
			logger.Error(err, "The warning about CustomResourceDefinitions could not be kept up to date", "apiService", klog.KObj(registration))
			next = min(next, retryAfter)
		}
	}
	return next
}

// tellPublished lets the certificate know what is trusted.
func (w *registrationWatch) tellPublished(all []*apiregistration.APIService) {
	if w.Certificate == nil {
		return
	}
	var bundles [][]byte
	for _, registration := range all {
		if slices.Contains(w.Groups, registration.Spec.Group) && w.Service.owns(registration) {
			bundles = append(bundles, registration.Spec.CABundle)
		}
	}
	w.Certificate.Published(bundles)
}

// keepBundle writes the bundle that the certificate was signed under. The
// resourceVersion that it was compared at guards it against another replica,
// and against a Service that has just changed. It returns when the bundle
// changes next: an authority's retention ends without an event.
func (w *registrationWatch) keepBundle(ctx context.Context, registration *apiregistration.APIService) (time.Duration, error) {
	if w.Certificate == nil {
		return renewalCheck, nil
	}
	bundle, changes := w.Certificate.publish(registration.Spec.CABundle, renewalCheck)
	if bytes.Equal(registration.Spec.CABundle, bundle) && !registration.Spec.InsecureSkipTLSVerify {
		return changes, nil
	}
	updated := registration.DeepCopy()
	updated.Spec.CABundle = bundle
	updated.Spec.InsecureSkipTLSVerify = false
	_, err := w.Aggregator.ApiregistrationV1().APIServices().Update(ctx, updated, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		// Its change is on its way to us as an event.
		return changes, nil
	}
	if err != nil {
		return 0, fmt.Errorf("update the caBundle of APIService %s: %w", registration.Name, err)
	}
	klog.FromContext(ctx).Info("Updated a caBundle", "apiService", klog.KObj(registration))
	return changes, nil
}

// nameOnly keeps of a CustomResourceDefinition what we look at: its annotations
// often hold the whole of it once more.
func nameOnly(obj any) (any, error) {
	if m, ok := obj.(*metav1.PartialObjectMetadata); ok {
		return &metav1.PartialObjectMetadata{
			TypeMeta:   m.TypeMeta,
			ObjectMeta: metav1.ObjectMeta{Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion},
		}, nil
	}
	return obj, nil
}

// signal remembers that something happened, once, for whoever receives next.
type signal chan struct{}

func newSignal() signal {
	return make(signal, 1)
}

// Enqueue raises the signal.
func (s signal) Enqueue() {
	select {
	case s <- struct{}{}:
	default:
	}
}

func (s signal) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { s.Enqueue() },
		UpdateFunc: func(_, _ any) { s.Enqueue() },
		DeleteFunc: func(any) { s.Enqueue() },
	}
}

// joined lists names in a message, the first few of many.
func joined(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
