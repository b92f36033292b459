// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package index

import (
	"context"
	"crypto/aes"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/storage/value"
	aestransformer "k8s.io/apiserver/pkg/storage/value/encrypt/aes"
	"k8s.io/klog/v2/ktesting"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apiserver/scheme"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/registry/lib/clusterset"
	"github.com/muster-project/muster/pkg/selection"
	"github.com/muster-project/muster/pkg/storage/etcd"
)

const prefix = "/registry/muster/test"

var prod = selection.SetKey{Kind: selection.KindClusterSet, Name: "prod"}

// store is an etcd that holds objects as the API server stores them.
type store struct {
	t            *testing.T
	server       *etcd.Server
	client       *clientv3.Client
	transformers Transformers
}

func newStore(t *testing.T) *store {
	t.Helper()
	server, err := etcd.Start(t.Context(), etcd.Config{DataDir: filepath.Join(t.TempDir(), "etcd"), UnsafeNoFsync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	client, err := etcd.NewClient(t.Context(), etcd.ClientConfig{Endpoints: []string{server.Endpoint()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return &store{t: t, server: server, client: client}
}

func (s *store) key(resource schema.GroupResource, name string) string {
	return prefix + "/" + resource.Group + "/" + resource.Resource + "/" + name
}

// put stores an object and returns the revision of that.
func (s *store) put(resource schema.GroupResource, name string, object runtime.Object) int64 {
	s.t.Helper()
	encoded, err := runtime.Encode(scheme.StorageCodec(), object)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.putRaw(resource, s.key(resource, name), s.key(resource, name), encoded)
}

// putRaw stores what was encrypted for one key under another.
func (s *store) putRaw(resource schema.GroupResource, encryptedFor, key string, raw []byte) int64 {
	s.t.Helper()
	if s.transformers != nil {
		var err error
		transformer := s.transformers.TransformerForResource(resource)
		if raw, err = transformer.TransformToStorage(s.t.Context(), raw, value.DefaultContext(encryptedFor)); err != nil {
			s.t.Fatal(err)
		}
	}
	response, err := s.client.Put(s.t.Context(), key, string(raw))
	if err != nil {
		s.t.Fatal(err)
	}
	return response.Header.Revision
}

func (s *store) delete(resource schema.GroupResource, name string) {
	s.t.Helper()
	if _, err := s.client.Delete(s.t.Context(), s.key(resource, name)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *store) putCluster(name string, ready bool) int64 {
	return s.put(lib.Resource("sveltosclusters"), "civo/"+name, &lib.SveltosCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: name, Labels: map[string]string{"env": "prod"}},
		Status:     lib.SveltosClusterStatus{Ready: ready},
	})
}

func (s *store) putSet(maxReplicas int32) int64 {
	return s.put(lib.Resource("clustersets"), "prod", &lib.ClusterSet{
		ObjectMeta: metav1.ObjectMeta{Name: "prod"},
		Spec: lib.ClusterSetSpec{
			ClusterSelector: lib.Selector{LabelSelector: metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}},
			MaxReplicas:     maxReplicas,
		},
	})
}

// follow runs a feed for as long as the test.
func (s *store) follow() (*Feed, *selection.Index) {
	s.t.Helper()
	logger, ctx := ktesting.NewTestContext(s.t)
	index := selection.NewIndex()
	feed := New(index, s.client, Options{Prefix: prefix, Transformers: s.transformers, CurrentRevision: s.server.Revision, Logger: logger})
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		if err := feed.Run(ctx); err != nil {
			s.t.Errorf("run: %v", err)
		}
	})
	s.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return feed, index
}

func newest(t *testing.T, feed *Feed, set selection.SetKey) clusterset.Answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := feed.WaitSynced(ctx); err != nil {
		t.Fatal(err)
	}
	answer, err := feed.Selection(ctx, set, selection.Query{}, true)
	if err != nil {
		t.Fatalf("selection of %s: %v", set, err)
	}
	return answer
}

// reasons are why clusters are or are not selected, by name.
func reasons(answer clusterset.Answer) map[string]selection.Reason {
	got := map[string]selection.Reason{}
	for _, entry := range answer.Candidates {
		got[entry.Ref.Name] = entry.Reason
	}
	return got
}

func TestFeedHasWhatTheStoreHas(t *testing.T) {
	s := newStore(t)
	s.putCluster("a", true)
	s.putSet(1)
	feed, index := s.follow()

	if diff := cmp.Diff(map[string]selection.Reason{"a": selection.Selected}, reasons(newest(t, feed, prod))); diff != "" {
		t.Errorf("of the first list (-want +got):\n%s", diff)
	}
	revision := s.putCluster("b", false)
	answer := newest(t, feed, prod)
	if diff := cmp.Diff(map[string]selection.Reason{"a": selection.Selected, "b": selection.NotReady}, reasons(answer)); diff != "" {
		t.Errorf("after another cluster (-want +got):\n%s", diff)
	}
	if answer.Revision < revision {
		t.Errorf("the answer is of revision %d, the cluster came with %d", answer.Revision, revision)
	}
	if member, known := answer.Unready[clusterNamed("civo", "b")]; !known || member.EverReady {
		t.Errorf("unready clusters are %v", answer.Unready)
	}

	s.delete(lib.Resource("sveltosclusters"), "civo/a")
	if diff := cmp.Diff(map[string]selection.Reason{"b": selection.NotReady}, reasons(newest(t, feed, prod))); diff != "" {
		t.Errorf("after a cluster went (-want +got):\n%s", diff)
	}
	s.delete(lib.Resource("clustersets"), "prod")
	if _, err := feed.Selection(t.Context(), prod, selection.Query{}, true); !errors.Is(err, selection.ErrUnknownSet) {
		t.Errorf("error of a set that went is %v", err)
	}
	if _, exists := index.Member(clusterNamed("civo", "b")); !exists {
		t.Error("the remaining cluster has gone with the set")
	}
}

func TestSummariesHoldClustersBack(t *testing.T) {
	s := newStore(t)
	s.putCluster("a", true)
	s.putSet(1)
	summaries := config.Resource("clustersummaries")
	s.put(summaries, "civo/p-sveltos-a", &config.ClusterSummary{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "p-sveltos-a"},
		Spec: config.ClusterSummarySpec{
			ClusterNamespace: "civo", ClusterName: "a", ClusterType: lib.ClusterTypeSveltos, Withdraw: true,
			MatchedBy: []config.MatchCause{{Kind: config.MatchCauseClusterSet, Name: "prod"}},
		},
	})
	feed, _ := s.follow()
	if diff := cmp.Diff(map[string]selection.Reason{"a": selection.Returning}, reasons(newest(t, feed, prod))); diff != "" {
		t.Errorf("while content is withdrawn (-want +got):\n%s", diff)
	}
	s.delete(summaries, "civo/p-sveltos-a")
	if diff := cmp.Diff(map[string]selection.Reason{"a": selection.Selected}, reasons(newest(t, feed, prod))); diff != "" {
		t.Errorf("afterwards (-want +got):\n%s", diff)
	}
}

func TestSetsAreOfTheirNamespace(t *testing.T) {
	s := newStore(t)
	s.putCluster("a", true)
	s.put(lib.Resource("sets"), "civo/local", &lib.Set{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "local"},
		Spec: lib.ClusterSetSpec{
			ClusterSelector: lib.Selector{LabelSelector: metav1.LabelSelector{MatchLabels: map[string]string{"env": "prod"}}},
			MaxReplicas:     1,
		},
	})
	feed, _ := s.follow()
	local := selection.SetKey{Kind: selection.KindSet, Namespace: "civo", Name: "local"}
	if got := newest(t, feed, local); len(got.Selected) != 1 {
		t.Errorf("selected are %v", got.Selected)
	}
	s.delete(lib.Resource("sets"), "civo/local")
	if _, err := feed.Selection(t.Context(), local, selection.Query{}, true); !errors.Is(err, selection.ErrUnknownSet) {
		t.Errorf("error of a set that went is %v", err)
	}
}

// More than a page of the first list.
func TestAFleetIsLoaded(t *testing.T) {
	s := newStore(t)
	s.putSet(3)
	const clusters = 1100
	for i := range clusters {
		s.putCluster(fmt.Sprintf("c%04d", i), true)
	}
	feed, _ := s.follow()
	answer := newest(t, feed, prod)
	if answer.Counts.Selected != 3 || answer.Counts.Standby != clusters-3 {
		t.Errorf("counts are %+v", answer.Counts)
	}
}

func TestReadsSeeEveryWriteBeforeThem(t *testing.T) {
	s := newStore(t)
	s.putSet(1)
	feed, _ := s.follow()
	for i := range 100 {
		revision := s.putCluster(fmt.Sprintf("c%03d", i), true)
		answer := newest(t, feed, prod)
		if healthy := answer.Counts.Selected + answer.Counts.Standby; healthy != i+1 || answer.Revision < revision {
			t.Fatalf("after %d clusters, the last at revision %d: %d at revision %d", i+1, revision, healthy, answer.Revision)
		}
	}
}

func TestNothingIsAnsweredBeforeTheFleetIsRead(t *testing.T) {
	s := newStore(t)
	feed := New(selection.NewIndex(), s.client, Options{Prefix: prefix})
	if feed.Synced() || feed.ReadyCheck().Check(&http.Request{}) == nil {
		t.Error("a feed that has not run is synced")
	}
	for _, newest := range []bool{false, true} {
		if _, err := feed.Selection(t.Context(), prod, selection.Query{}, newest); !errors.Is(err, clusterset.ErrNotReady) {
			t.Errorf("newest=%v: error is %v", newest, err)
		}
	}
}

func TestAStoreThatDoesNotAnswerIsNotReady(t *testing.T) {
	s := newStore(t)
	s.putSet(1)
	feed, _ := s.follow()
	newest(t, feed, prod)
	if err := feed.ReadyCheck().Check(&http.Request{}); err != nil {
		t.Errorf("not ready though it answers: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := feed.Selection(ctx, prod, selection.Query{}, true); !errors.Is(err, clusterset.ErrNotReady) {
		t.Errorf("error is %v", err)
	}
	if _, err := feed.Selection(ctx, prod, selection.Query{}, false); err != nil {
		t.Errorf("what is at hand: %v", err)
	}
}

// aesTransformers encrypt everything with one key.
type aesTransformers struct{ transformer value.Transformer }

func (a aesTransformers) TransformerForResource(schema.GroupResource) value.Transformer {
	return a.transformer
}

func newAES(t *testing.T) aesTransformers {
	t.Helper()
	block, err := aes.NewCipher([]byte(strings.Repeat("k", 32)))
	if err != nil {
		t.Fatal(err)
	}
	transformer, err := aestransformer.NewGCMTransformer(block)
	if err != nil {
		t.Fatal(err)
	}
	return aesTransformers{transformer}
}

func TestEncryptedObjectsAreRead(t *testing.T) {
	s := newStore(t)
	s.transformers = newAES(t)
	s.putCluster("a", true)
	s.putSet(1)
	feed, _ := s.follow()
	if diff := cmp.Diff(map[string]selection.Reason{"a": selection.Selected}, reasons(newest(t, feed, prod))); diff != "" {
		t.Errorf("candidates (-want +got):\n%s", diff)
	}
	// Somebody who can write to etcd and has no key moves a value.
	clusters := lib.Resource("sveltosclusters")
	encoded, err := runtime.Encode(scheme.StorageCodec(), &lib.SveltosCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "b", Labels: map[string]string{"env": "prod"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.putRaw(clusters, s.key(clusters, "civo/elsewhere"), s.key(clusters, "civo/b"), encoded)
	if got := reasons(newest(t, feed, prod)); len(got) != 1 {
		t.Errorf("a value that was moved is taken in: %v", got)
	}
}

func TestAnUnreadableObjectLeavesTheRest(t *testing.T) {
	s := newStore(t)
	s.putCluster("a", true)
	s.putCluster("b", true)
	s.putSet(1)
	feed, index := s.follow()
	newest(t, feed, prod)
	clusters := lib.Resource("sveltosclusters")
	s.putRaw(clusters, "", s.key(clusters, "civo/a"), []byte("{garbage"))
	s.putCluster("c", true)
	if got := newest(t, feed, prod); got.Counts.Selected+got.Counts.Standby != 3 {
		t.Errorf("counts are %+v", got.Counts)
	}
	if member, exists := index.Member(fleet.Ref{Group: lib.GroupName, Kind: "SveltosCluster", Namespace: "civo", Name: "a"}); !exists || !member.Ready {
		t.Error("a cluster that cannot be read is not what it was before")
	}
}
