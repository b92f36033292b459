// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

var (
	clusterResource    = schema.GroupVersionResource{Group: "lib.projectsveltos.io", Version: "v1beta1", Resource: "sveltosclusters"}
	clusterSetResource = schema.GroupVersionResource{Group: "lib.projectsveltos.io", Version: "v1beta1", Resource: "clustersets"}
	secretResource     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
)

// Await calls check until it succeeds, many times a second. When ctx is done
// first, the error is ctx's and check's last one.
func Await(ctx context.Context, check func(context.Context) error) error {
	return poll(ctx, nil, check)
}

// Observer reads from outside what has happened: Muster's objects through the
// host, what is deployed from the managed clusters themselves, past their
// proxies. It is safe for concurrent use.
type Observer struct {
	host    dynamic.Interface
	managed map[string]dynamic.Interface
}

// Observer makes an Observer of the fleet.
func (f *Fleet) Observer() (*Observer, error) {
	o := &Observer{managed: map[string]dynamic.Interface{}}
	for _, c := range append(f.Clusters(), f.Host) {
		config, err := c.RESTConfig()
		if err != nil {
			return nil, err
		}
		client, err := dynamic.NewForConfig(config)
		if err != nil {
			return nil, fmt.Errorf("making a client of %s: %w", c.name, err)
		}
		o.managed[c.name] = client
	}
	o.host = o.managed[hostName]
	return o, nil
}

// ClusterReady says what status.ready of a SveltosCluster is.
func (o *Observer) ClusterReady(ctx context.Context, namespace, name string) (bool, error) {
	cluster, err := o.host.Resource(clusterResource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return false, fmt.Errorf("reading SveltosCluster %s/%s: %w", namespace, name, err)
	}
	ready, _, err := unstructured.NestedBool(cluster.Object, "status", "ready")
	if err != nil {
		return false, fmt.Errorf("reading SveltosCluster %s/%s: %w", namespace, name, err)
	}
	return ready, nil
}

// Selected lists the clusters that a ClusterSet's status says are selected,
// each as namespace/name.
func (o *Observer) Selected(ctx context.Context, set string) ([]string, error) {
	object, err := o.host.Resource(clusterSetResource).Get(ctx, set, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading ClusterSet %s: %w", set, err)
	}
	refs, _, err := unstructured.NestedSlice(object.Object, "status", "selectedClusterRefs")
	if err != nil {
		return nil, fmt.Errorf("reading ClusterSet %s: %w", set, err)
	}
	var names []string
	for _, ref := range refs {
		fields, ok := ref.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("reading ClusterSet %s: a selected ref is no object", set)
		}
		names = append(names, fmt.Sprintf("%v/%v", fields["namespace"], fields["name"]))
	}
	return names, nil
}

// Released says whether Helm's own storage in a managed cluster has the
// release as deployed.
func (o *Observer) Released(ctx context.Context, cluster, namespace, release string) (bool, error) {
	list, err := o.managed[cluster].Resource(secretResource).Namespace(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: "owner=helm,status=deployed,name=" + release,
	})
	if err != nil {
		return false, fmt.Errorf("listing the releases of %s: %w", cluster, err)
	}
	return len(list.Items) > 0, nil
}

// Failover is one to measure.
type Failover struct {
	// Set is the ClusterSet that moves.
	Set string
	// Namespace is that of both clusters' registrations.
	Namespace string
	// From is the cluster that fails and To the one that takes over, by the
	// names that they have in the fleet and are registered under.
	From, To string
	// Fault makes From fail.
	Fault func(context.Context) error
	// Deployed fails for as long as To does not have what it should.
	Deployed func(context.Context) error
}

// FailoverTimes are when each step of a fail-over could be read from the
// APIs, counted from just before the fault.
type FailoverTimes struct {
	Detected, Selected, Deployed time.Duration
}

// String is the line that the demo ends with.
func (t FailoverTimes) String() string {
	return fmt.Sprintf("detected=%.1fs selected=%.1fs deployed=%.1fs", t.Detected.Seconds(), t.Selected.Seconds(), t.Deployed.Seconds())
}

// MeasureFailover makes a cluster fail and reads the APIs until the other one
// has taken over.
func (o *Observer) MeasureFailover(ctx context.Context, f Failover) (FailoverTimes, error) {
	var times FailoverTimes
	began := time.Now()
	if err := f.Fault(ctx); err != nil {
		return times, fmt.Errorf("making %s fail: %w", f.From, err)
	}
	group, ctx := errgroup.WithContext(ctx)
	measure := func(what string, into *time.Duration, check func(context.Context) error) {
		group.Go(func() error {
			if err := Await(ctx, check); err != nil {
				return fmt.Errorf("waiting until %s: %w", what, err)
			}
			*into = time.Since(began)
			return nil
		})
	}
	measure(f.From+" is seen to be down", &times.Detected, func(ctx context.Context) error {
		ready, err := o.ClusterReady(ctx, f.Namespace, f.From)
		if err == nil && ready {
			err = fmt.Errorf("%s still counts as ready", f.From)
		}
		return err
	})
	measure(f.To+" is selected", &times.Selected, func(ctx context.Context) error {
		return o.OnlySelected(ctx, f.Set, f.Namespace+"/"+f.To)
	})
	measure(f.To+" has the add-on", &times.Deployed, f.Deployed)
	return times, group.Wait()
}

// OnlySelected fails unless a ClusterSet's status has exactly this cluster,
// namespace/name, selected.
func (o *Observer) OnlySelected(ctx context.Context, set, cluster string) error {
	selected, err := o.Selected(ctx, set)
	if err == nil && (len(selected) != 1 || selected[0] != cluster) {
		err = fmt.Errorf("ClusterSet %s has %q selected", set, selected)
	}
	return err
}
