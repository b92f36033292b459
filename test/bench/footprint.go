// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/muster-project/muster/test/fleet"
)

var secretResource = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}

const (
	memoryGoalKB = 128
	storeGoalKB  = 4

	// registrars register clusters side by side.
	registrars = 16
	// settling is six rounds of probes.
	settling = 30 * time.Second
	// readyWithin bounds the wait for all clusters to be ready.
	readyWithin = 10 * time.Minute
)

// measureFootprint is G5: what a registered cluster costs, as the slope between
// none and many.
func measureFootprint(ctx context.Context, b *bench, report func(*Measure)) error {
	clusters := 1_000
	if len(b.clusters) > 0 {
		clusters = b.clusters[len(b.clusters)-1]
	}
	return b.withFleet(ctx, fleet.Options{Name: "g5"}, func(ctx context.Context, f *fleet.Fleet) (err error) {
		fake, err := startFakeClusters(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, fake.stop()) }()
		var before, after footprint
		if before.store, err = offlineStoreKB(ctx, f, f.Muster.Start); err != nil {
			return err
		}
		if before.memory, err = b.settledKB(ctx, f, "g5-heap-empty"); err != nil {
			return err
		}
		if err := registerFakes(ctx, f, fake, clusters); err != nil {
			return err
		}
		b.logf("G5: %d clusters are ready", clusters)
		if after.memory, err = b.settledKB(ctx, f, "g5-heap"); err != nil {
			return err
		}
		if after.store, err = offlineStoreKB(ctx, f, stayDown); err != nil {
			return err
		}
		report(footprintMeasure(clusters, before, after))
		return nil
	})
}

// footprint is what a server uses, in KB.
type footprint struct{ memory, store float64 }

func footprintMeasure(clusters int, before, after footprint) *Measure {
	m := &Measure{Name: "G5"}
	return m.Number("clusters", float64(clusters), 0).
		AtMost("per_cluster_kb", (after.memory-before.memory)/float64(clusters), memoryGoalKB, 1).
		AtMost("etcd_kb_per_cluster", (after.store-before.store)/float64(clusters), storeGoalKB, 2).
		Number("rss_0_mb", before.memory/1024, 0).
		Number("rss_mb", after.memory/1024, 0)
}

// stayDown starts nothing.
func stayDown(context.Context) error { return nil }

// offlineStoreKB stops Muster, looks at its store, and then calls start.
func offlineStoreKB(ctx context.Context, f *fleet.Fleet, start func(context.Context) error) (kb float64, err error) {
	err = offline(ctx, f, func(client *clientv3.Client) (err error) {
		kb, err = storeKB(ctx, client)
		return err
	}, start)
	return kb, err
}

// settledKB is the median resident memory of Muster over a while, after
// another while. A profile of its heap is taken then, if that is asked for.
func (b *bench) settledKB(ctx context.Context, f *fleet.Fleet, profile string) (float64, error) {
	if err := pause(ctx, settling); err != nil {
		return 0, err
	}
	var samples []float64
	for range 20 {
		kb, err := residentKB(f.Muster.PID())
		if err != nil {
			return 0, err
		}
		samples = append(samples, kb)
		if err := pause(ctx, time.Second); err != nil {
			return 0, err
		}
	}
	return median(samples), b.heap(ctx, f, profile)
}

// storeKB compacts a store to what is current, and returns what it uses.
func storeKB(ctx context.Context, client *clientv3.Client) (float64, error) {
	got, err := client.Get(ctx, "/", clientv3.WithCountOnly())
	if err != nil {
		return 0, fmt.Errorf("reading the store's revision: %w", err)
	}
	if _, err := client.Compact(ctx, got.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		return 0, fmt.Errorf("compacting the store: %w", err)
	}
	endpoint := client.Endpoints()[0]
	if _, err := client.Defragment(ctx, endpoint); err != nil {
		return 0, fmt.Errorf("defragmenting the store: %w", err)
	}
	status, err := client.Status(ctx, endpoint)
	if err != nil {
		return 0, fmt.Errorf("reading the store's size: %w", err)
	}
	return float64(status.DbSizeInUse) / 1024, nil
}

// registerFakes registers clusters through the APIs, and waits until all are
// ready.
func registerFakes(ctx context.Context, f *fleet.Fleet, fake *fakeClusters, clusters int) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	config, err := f.Host.RESTConfig()
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client of the host: %w", err)
	}
	if _, err := f.Kubectl(ctx, "create", "namespace", space); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(registrars)
	for i := range clusters {
		group.Go(func() error { return registerFake(groupCtx, client, fake, clusterName(i)) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return fleet.Await(ctx, func(ctx context.Context) error {
		// Each look lists all of them, which must not be the load.
		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
		ready, err := countReady(ctx, client)
		if err == nil && ready < clusters {
			err = fmt.Errorf("%d of %d clusters are ready", ready, clusters)
		}
		return err
	})
}

func registerFake(ctx context.Context, client dynamic.Interface, fake *fakeClusters, name string) error {
	for _, object := range []struct {
		resource schema.GroupVersionResource
		kind     string
		name     string
		fields   map[string]any
	}{
		{secretResource, "Secret", fleet.KubeconfigSecret(name), map[string]any{"stringData": map[string]any{"kubeconfig": string(fake.kubeconfig(name))}}},
		{clusterResource, "SveltosCluster", name, nil},
	} {
		content := map[string]any{
			"apiVersion": object.resource.GroupVersion().String(), "kind": object.kind,
			"metadata": map[string]any{"name": object.name, "labels": map[string]any{"env": "prod", "region": "eu"}},
		}
		for key, value := range object.fields {
			content[key] = value
		}
		_, err := client.Resource(object.resource).Namespace(space).Create(ctx, &unstructured.Unstructured{Object: content}, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("registering %s: %w", name, err)
		}
	}
	return nil
}

func countReady(ctx context.Context, client dynamic.Interface) (int, error) {
	list, err := client.Resource(clusterResource).Namespace(space).List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, fmt.Errorf("listing the clusters: %w", err)
	}
	ready := 0
	for i := range list.Items {
		if is, _, err := unstructured.NestedBool(list.Items[i].Object, "status", "ready"); err == nil && is {
			ready++
		}
	}
	return ready, nil
}
