// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/dynamic"

	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/test/fleet"
)

const (
	// storagePrefix is where Muster keeps SveltosClusters by default.
	storagePrefix = "/registry/muster/default/lib.projectsveltos.io/sveltosclusters/"
	// seedBatch is the most operations that etcd takes in one transaction.
	seedBatch = 128

	templateName  = "cluster-template"
	templateUID   = "00000000-0000-4000-8000-000000000000"
	templateShard = "shard-template"

	// shards are how many values the label of seeded clusters has.
	shards = 4
)

// clusterName is the name of the i-th seeded cluster, in namespace space.
func clusterName(i int) string { return fmt.Sprintf("cluster-%06d", i) }

// seeder registers any number of clusters that nobody can reach, by writing
// them to Muster's store, while Muster is stopped, exactly as Muster would. It
// takes seconds where the API would take many minutes.
//
// The clusters have been ready, count as ready, and have no kubeconfig any
// more: in this state Muster holds them as ready and moves nothing. So they
// cost what registered clusters cost, their probes excepted.
type seeder struct {
	fleet *fleet.Fleet
	// stored is a cluster as it lies in etcd, with the template's name, UID and
	// shard in it.
	stored string
	seeded int
}

// newSeeder has Muster store one cluster, to learn what that looks like.
func newSeeder(ctx context.Context, f *fleet.Fleet) (*seeder, error) {
	config, err := f.Host.RESTConfig()
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the host: %w", err)
	}
	if _, err := f.Kubectl(ctx, "create", "namespace", space); err != nil {
		return nil, err
	}
	clusters := client.Resource(clusterResource).Namespace(space)
	if _, err := clusters.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": clusterResource.GroupVersion().String(), "kind": "SveltosCluster",
		"metadata": map[string]any{"name": templateName, "labels": map[string]any{"shard": templateShard}},
	}}, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("registering a cluster: %w", err)
	}
	err = fleet.Await(ctx, func(ctx context.Context) error {
		cluster, err := clusters.Get(ctx, templateName, metav1.GetOptions{})
		if err == nil && !strings.Contains(fmt.Sprint(cluster.Object["status"]), "CredentialsInvalid") {
			err = errors.New("the missing kubeconfig is not in its status")
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("waiting for a cluster's status: %w", err)
	}
	s := &seeder{fleet: f}
	return s, s.offline(ctx, func(client *clientv3.Client) error { return s.learn(ctx, client) })
}

// offline stops Muster, calls f with a client of its store, and starts Muster
// again.
func (s *seeder) offline(ctx context.Context, f func(*clientv3.Client) error) error {
	return offline(ctx, s.fleet, f, s.fleet.Muster.Start)
}

// offline stops Muster, calls f with a client of its store, and then start.
func offline(ctx context.Context, fl *fleet.Fleet, f func(*clientv3.Client) error, start func(context.Context) error) error {
	if err := fl.Muster.Stop(ctx); err != nil {
		return err
	}
	if err := withStore(ctx, fl.Muster.DataDir(), f); err != nil {
		return err
	}
	return start(ctx)
}

// withStore runs a stopped Muster's etcd.
func withStore(ctx context.Context, dir string, f func(*clientv3.Client) error) (err error) {
	server, err := etcd.Start(ctx, etcd.Config{DataDir: dir, UnsafeNoFsync: true})
	if err != nil {
		return err
	}
	defer server.Close()
	client, err := etcd.NewClient(ctx, etcd.ClientConfig{Endpoints: []string{server.Endpoint()}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	return f(client)
}

// learn takes the template out of the store, and makes it a cluster that has
// been ready.
func (s *seeder) learn(ctx context.Context, client *clientv3.Client) error {
	key := storagePrefix + space + "/" + templateName
	got, err := client.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("reading %s: %w", key, err)
	}
	if len(got.Kvs) != 1 {
		return fmt.Errorf("the store has no %s", key)
	}
	cluster := &unstructured.Unstructured{}
	if err := json.Unmarshal(got.Kvs[0].Value, &cluster.Object); err != nil {
		return fmt.Errorf("decoding %s: %w", key, err)
	}
	cluster.SetUID(templateUID)
	if err := becomeReady(cluster); err != nil {
		return fmt.Errorf("changing %s: %w", key, err)
	}
	stored, err := json.Marshal(cluster.Object)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", key, err)
	}
	s.stored = string(stored)
	_, err = client.Delete(ctx, key)
	return err
}

// becomeReady writes into a status what Muster would have if the cluster's
// kubeconfig had gone after it was ready.
func becomeReady(cluster *unstructured.Unstructured) error {
	conditions, _, err := unstructured.NestedSlice(cluster.Object, "status", "conditions")
	if err != nil {
		return err
	}
	reachable := func(condition string) map[string]any {
		return map[string]any{
			"type": condition, "status": "True", "reason": "Reachable", "message": "",
			"lastTransitionTime": time.Now().UTC().Format(time.RFC3339), "observedGeneration": cluster.GetGeneration(),
		}
	}
	for i := range conditions {
		if condition, ok := conditions[i].(map[string]any); ok && condition["type"] == "Ready" {
			conditions[i] = reachable("Ready")
		}
	}
	conditions = append(conditions, reachable("HasBeenReady"))
	return errors.Join(
		unstructured.SetNestedSlice(cluster.Object, conditions, "status", "conditions"),
		unstructured.SetNestedField(cluster.Object, true, "status", "ready"),
	)
}

// grow makes it n clusters. Muster is running again when it returns.
func (s *seeder) grow(ctx context.Context, n int) error {
	return s.offline(ctx, func(client *clientv3.Client) error {
		for s.seeded < n {
			var batch []clientv3.Op
			for ; s.seeded < n && len(batch) < seedBatch; s.seeded++ {
				batch = append(batch, clientv3.OpPut(storagePrefix+space+"/"+clusterName(s.seeded), s.cluster(s.seeded)))
			}
			if _, err := client.Txn(ctx).Then(batch...).Commit(); err != nil {
				return fmt.Errorf("writing clusters: %w", err)
			}
		}
		return nil
	})
}

// cluster is the i-th cluster as it is stored.
func (s *seeder) cluster(i int) string {
	return strings.NewReplacer(
		templateName, clusterName(i),
		templateUID, string(uuid.NewUUID()),
		templateShard, shardOf(i),
	).Replace(s.stored)
}

func shardOf(i int) string { return fmt.Sprint(i % shards) }
