// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

// fakeAPI is what the fake clusters have in common: when each of them was sent what, and
// which of them hang. Of Kubernetes it knows as much as it takes to deploy ConfigMaps to
// namespace default, and stores nothing: none is there until it is applied.
type fakeAPI struct {
	mu sync.Mutex
	// hanging are the clusters that answer nothing but probes, until their channel is
	// closed.
	hanging map[string]chan struct{}
	// arrived is when a value was applied to each cluster, in nanoseconds since 1970.
	arrived map[string]map[string]int64
}

func newFakeAPI() *fakeAPI {
	return &fakeAPI{hanging: map[string]chan struct{}{}, arrived: map[string]map[string]int64{}}
}

const (
	// fakeHang makes a cluster hang, or stop to: ?cluster=NAME&on=true.
	fakeHang = "/bench/hang"
	// fakeArrived tells when a value was applied: ?value=TEXT.
	fakeArrived = "/bench/arrived"

	fakeConfigMaps = "/api/v1/namespaces/default/configmaps"
)

// ServeHTTP answers as the cluster whose token comes with the request.
func (f *fakeAPI) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	cluster, ok := strings.CutPrefix(request.Header.Get("Authorization"), "Bearer ")
	if !ok {
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	}
	switch request.URL.Path {
	case fakeHang:
		f.hang(request.URL.Query().Get("cluster"), request.URL.Query().Get("on") == "true")
		return
	case fakeArrived:
		answer(w, f.arrivals(request.URL.Query().Get("value")))
		return
	case "/readyz":
		_, _ = io.WriteString(w, "ok")
		return
	}
	if !f.pass(request, cluster) {
		return
	}
	if path.Dir(request.URL.Path) == fakeConfigMaps {
		f.configMap(w, request, cluster)
		return
	}
	fakeCluster(w, request, cluster)
}

// pass waits as long as a cluster hangs, and is false if the client gave up.
func (f *fakeAPI) pass(request *http.Request, cluster string) bool {
	f.mu.Lock()
	released := f.hanging[cluster]
	f.mu.Unlock()
	if released == nil {
		return true
	}
	// A server notices that its client has gone only once it has read all that was sent.
	_, _ = io.Copy(io.Discard, request.Body)
	select {
	case <-released:
	case <-request.Context().Done():
	}
	return false
}

func (f *fakeAPI) hang(cluster string, on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if released := f.hanging[cluster]; released != nil {
		close(released)
		delete(f.hanging, cluster)
	}
	if on {
		f.hanging[cluster] = make(chan struct{})
	}
}

func (f *fakeAPI) arrivals(value string) map[string]int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[string]int64, len(f.arrived[value]))
	for cluster, at := range f.arrived[value] {
		out[cluster] = at
	}
	return out
}

// configMap answers that there is none, or takes what is applied.
func (f *fakeAPI) configMap(w http.ResponseWriter, request *http.Request, cluster string) {
	now := time.Now().UnixNano()
	if request.Method != http.MethodPatch {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(map[string]any{ // the client has gone
			"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": http.StatusNotFound,
			"details": map[string]any{"name": path.Base(request.URL.Path), "kind": "configmaps"},
		})
		return
	}
	var object struct {
		Metadata map[string]any    `json:"metadata"`
		Data     map[string]string `json:"data"`
	}
	if err := json.NewDecoder(request.Body).Decode(&object); err != nil {
		http.Error(w, "not an object in JSON", http.StatusBadRequest)
		return
	}
	value := object.Data["value"]
	f.mu.Lock()
	if f.arrived[value] == nil {
		f.arrived[value] = map[string]int64{}
	}
	if _, again := f.arrived[value][cluster]; !again {
		f.arrived[value][cluster] = now
	}
	f.mu.Unlock()
	object.Metadata["uid"], object.Metadata["resourceVersion"] = "uid-of-object-in-"+cluster, "1"
	answer(w, map[string]any{"kind": "ConfigMap", "apiVersion": "v1", "metadata": object.Metadata, "data": object.Data})
}
