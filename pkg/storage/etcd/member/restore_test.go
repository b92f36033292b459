// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/pkg/storage/etcd/snapshot"
	"github.com/muster-project/muster/pkg/storage/records"
)

func TestAClusterIsRestored(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	processes := c.bootstrap()
	const prefix = "/registry/muster/default"
	client := c.client()
	c.put(client, prefix+"/object", "v1")
	if _, err := records.RaiseEpoch(t.Context(), client, prefix); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backup")
	var endpoints []string
	for _, p := range c.peers {
		endpoints = append(endpoints, p.ClientURL)
	}
	info, err := snapshot.SaveFile(t.Context(), etcd.ClientConfig{
		Endpoints: endpoints, CertFile: c.tls.CertFile, KeyFile: c.tls.KeyFile, CAFile: c.tls.CAFile,
	}, file)
	if err != nil {
		t.Fatal(err)
	}
	latest := c.put(client, prefix+"/object", "v2")
	stale, err := records.RaiseEpoch(t.Context(), client, prefix)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		p.stop()
	}
	old := c.state.state.ClusterID
	kept := c.dir("m0") + ".kept"
	rename(t, c.dir("m0"), kept)

	// Two are restored, each by itself. The third has lost its data and is not.
	var results []snapshot.Result
	for _, name := range []string{"m0", "m1"} {
		c.wipe(name)
		result, err := snapshot.Restore(t.Context(), snapshot.RestoreOptions{
			File: file, DataDir: c.dir(name), Name: name, InitialCluster: c.config(name).initialCluster(), Now: time.Now(),
		})
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, result)
	}
	c.wipe("m2")
	if results[0].ClusterID != results[1].ClusterID || results[0].Revision != results[1].Revision || results[0].ClusterID == old {
		t.Fatalf("restored as %+v and %+v, the cluster was %s", results[0], results[1], old)
	}
	first := c.start("m0")
	c.start("m1")
	c.start("m2")
	c.holds("m2", prefix+"/object", "v1")
	client = c.client()
	c.voters(client, 3)
	resp, err := client.Get(t.Context(), prefix+"/object")
	if err != nil || string(resp.Kvs[0].Value) != "v1" {
		t.Fatal(resp, err)
	}
	if resp.Header.Revision <= latest || info.Revision >= latest {
		t.Errorf("revision %d, the backup's is %d, the last one of before %d", resp.Header.Revision, info.Revision, latest)
	}
	if epoch, err := records.RaiseEpoch(t.Context(), client, prefix); err != nil || epoch <= stale {
		t.Errorf("the next epoch is %d (%v), and somebody of before may have %d", epoch, err, stale)
	}
	eventually(t, func() error {
		state, err := c.state.Get(t.Context())
		if err != nil || state.ClusterID != results[0].ClusterID || state.Restored == nil || state.Completed == nil {
			return errors.New("the restored cluster is not recorded")
		}
		return nil
	})

	// A volume of before does not come back, also not with the members of now around it.
	first.stop()
	c.wipe("m0")
	rename(t, kept, c.dir("m0"))
	c.refused("m0", "another installation's")
}

// One member is restored as a cluster of its own, because a backup lies on one volume, which may not
// be where the others are; those join it.
func TestAClusterIsRestoredFromOneMember(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	processes := c.bootstrap()
	const prefix = "/registry/muster/default"
	client := c.client()
	c.put(client, prefix+"/object", "v1")
	file := filepath.Join(t.TempDir(), "backup")
	source := etcd.ClientConfig{Endpoints: []string{c.peers[0].ClientURL}, CertFile: c.tls.CertFile, KeyFile: c.tls.KeyFile, CAFile: c.tls.CAFile}
	if _, err := snapshot.SaveFile(t.Context(), source, file); err != nil {
		t.Fatal(err)
	}
	c.put(client, prefix+"/object", "v2")
	for _, p := range processes {
		p.stop()
	}
	for _, name := range []string{"m0", "m1", "m2"} {
		c.wipe(name)
	}
	alone := snapshot.RestoreOptions{File: file, DataDir: c.dir("m1"), Name: "m1", InitialCluster: "m1=" + c.peers[1].PeerURL, Now: time.Now()}
	if _, err := snapshot.Restore(t.Context(), alone); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"m0", "m1", "m2"} {
		c.start(name)
	}
	for _, name := range []string{"m0", "m2"} {
		c.holds(name, prefix+"/object", "v1")
	}
	c.voters(c.client(), 3)
}
