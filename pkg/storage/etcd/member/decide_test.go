// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"pgregory.net/rapid"

	"github.com/muster-project/muster/pkg/storage/etcd"
)

func TestDecisions(t *testing.T) {
	self := Peer{Name: "m0", PeerURL: "https://m0:2380", ClientURL: "https://m0:2379"}
	initial := "m0=https://m0:2380,m1=https://m1:2380,m2=https://m2:2380"
	known := State{ClusterID: "c1", Token: "t", InitialCluster: initial}
	taken := known
	taken.Permits = map[string]string{"m0": "permit"}
	later := known
	later.InitialCluster = "m1=https://m1:2380,m2=https://m2:2380"
	majority := func(id string, members ...*etcdserverpb.Member) *view {
		return &view{clusterID: id, endpoint: "https://m1:2379", members: members}
	}
	awaited := &etcdserverpb.Member{ID: 1, Name: "m0", PeerURLs: []string{self.PeerURL}}
	served := &etcdserverpb.Member{ID: 1, Name: "m0", PeerURLs: []string{self.PeerURL}, ClientURLs: []string{self.ClientURL}}
	learner := &etcdserverpb.Member{ID: 9, PeerURLs: []string{self.PeerURL}, IsLearner: true}
	data := &volume{memberID: types.ID(1).String(), clusterID: "c1"}
	restored := &volume{memberID: types.ID(1).String(), clusterID: "c2", restored: &etcd.Restored{ClusterID: "c2", At: time.Unix(2000, 0)}}
	afterRestore := State{ClusterID: "c3", Restored: new(time.Unix(3000, 0))}
	down := errors.New("down")

	for name, tc := range map[string]struct {
		situation situation
		want      step
		refused   string
		replaces  []uint64
	}{
		"first start of all":                  {situation{}, record, "", nil},
		"agreed, and nobody has begun":        {situation{state: known}, begin, "", nil},
		"killed before it had a log":          {situation{state: taken, permit: "permit"}, begin, "", nil},
		"data lost, and nobody is there":      {situation{state: taken}, wait, "", nil},
		"added later, and nobody is there":    {situation{state: later}, wait, "", nil},
		"adopted, and nobody is there":        {situation{state: State{ClusterID: "c1"}}, wait, "", nil},
		"nothing is known":                    {situation{unknown: down}, wait, "", nil},
		"awaited by the others":               {situation{state: known, view: majority("c1", awaited)}, begin, "", nil},
		"data lost before it served":          {situation{state: taken, view: majority("c1", awaited)}, join, "", []uint64{1}},
		"data lost":                           {situation{state: taken, view: majority("c1", served)}, join, "", []uint64{1}},
		"killed while it joined":              {situation{state: taken, view: majority("c1", learner)}, join, "", []uint64{9}},
		"added later":                         {situation{state: later, view: majority("c1")}, join, "", nil},
		"beside a cluster that nobody knows":  {situation{view: majority("c1", served)}, record, "", nil},
		"beside another cluster":              {situation{state: known, view: majority("c7", served)}, "", "another installation's", nil},
		"restart":                             {situation{volume: data, state: taken}, restart, "", nil},
		"restart without the host":            {situation{volume: data, unknown: down}, restart, "", nil},
		"restart beside the others":           {situation{volume: data, state: taken, view: majority("c1", served)}, restart, "", nil},
		"restart, and nothing is recorded":    {situation{volume: data}, record, "", nil},
		"removed":                             {situation{volume: data, state: taken, view: majority("c1")}, "", "was removed", nil},
		"data of another cluster":             {situation{volume: data, state: afterRestore}, "", "another installation's", nil},
		"data beside another cluster":         {situation{volume: data, state: taken, view: majority("c7", served)}, "", "another installation's", nil},
		"restored":                            {situation{volume: restored, state: taken}, record, "", nil},
		"restored, and the host is down":      {situation{volume: restored, unknown: down}, wait, "", nil},
		"restored, and again after it":        {situation{volume: restored, state: afterRestore}, "", "before a restore", nil},
		"restored, and that is recorded":      {situation{volume: restored, state: State{ClusterID: "c2"}}, restart, "", nil},
		"without data in a restored cluster":  {situation{state: afterRestore}, wait, "", nil},
		"certificates that are not accepted":  {situation{silence: fmt.Errorf("x: %w", tlsAlert())}, "", "do not accept each other's certificates", nil},
		"with data, and such certificates":    {situation{volume: data, state: taken, silence: tlsAlert()}, restart, "", nil},
		"begin again with the permit of disk": {situation{state: known, permit: "permit"}, begin, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			tc.situation.self, tc.situation.initialCluster = self, initial
			d, err := decide(tc.situation)
			if (err != nil) != (tc.refused != "") || err != nil && !strings.Contains(err.Error(), tc.refused) {
				t.Fatalf("error %v, want %q", err, tc.refused)
			}
			if err == nil && (d.step != tc.want || !slices.Equal(d.replaces, tc.replaces)) {
				t.Errorf("%s %v, want %s %v", d.step, d.replaces, tc.want, tc.replaces)
			}
			if d.step == wait && d.why == "" {
				t.Error("it does not say why it waits")
			}
		})
	}
}

func tlsAlert() error { return &tls.CertificateVerificationError{Err: errors.New("unknown authority")} }

// disk is what a simulated member has.
type disk struct {
	permit string
	log    bool
	id     uint64
	seen   int // the newest acknowledged write in its log
}

// simulation is three members, whatever agrees between them, and raft's rule: what a majority of voters
// has acknowledged exists as long as no majority has lost it.
type simulation struct {
	peers  []Peer
	disks  map[string]*disk
	up     map[string]bool
	voters map[string]uint64
	state  State
	writes int
	nextID uint64
}

func newSimulation() *simulation {
	s := &simulation{disks: map[string]*disk{}, up: map[string]bool{}, voters: map[string]uint64{}, nextID: 100}
	for i := range 3 {
		name := fmt.Sprintf("m%d", i)
		s.peers = append(s.peers, Peer{Name: name, PeerURL: "https://" + name + ":2380", ClientURL: "https://" + name + ":2379"})
		s.disks[name] = &disk{}
		s.voters[name] = uint64(i + 1)
	}
	return s
}

// majority are the voters that are up, if they are a majority.
func (s *simulation) majority() []string {
	var up []string
	for name, id := range s.voters {
		if s.up[name] && s.disks[name].log && s.disks[name].id == id {
			up = append(up, name)
		}
	}
	if len(up) < len(s.voters)/2+1 {
		return nil
	}
	slices.Sort(up)
	return up
}

func (s *simulation) view() *view {
	if s.majority() == nil {
		return nil
	}
	v := &view{clusterID: s.state.ClusterID}
	for name, id := range s.voters {
		m := &etcdserverpb.Member{ID: id, Name: name, PeerURLs: []string{"https://" + name + ":2380"}}
		if s.disks[name].log || s.state.Permits[name] != "" {
			m.ClientURLs = []string{"https://" + name + ":2379"}
		}
		v.members = append(v.members, m)
	}
	return v
}

// start has a member take one step. It may be killed before each of the things that it does.
func (s *simulation) start(t *rapid.T, p Peer) {
	if s.up[p.Name] {
		return
	}
	d := s.disks[p.Name]
	now := situation{self: p, initialCluster: Config{Peers: s.peers}.initialCluster(), permit: d.permit, state: s.state, view: s.view()}
	if d.log {
		now.volume = &volume{memberID: types.ID(d.id).String(), clusterID: s.state.ClusterID}
	}
	decided, err := decide(now)
	if err != nil {
		if d.log && strings.Contains(err.Error(), "was removed") {
			return
		}
		t.Fatalf("%s: %v", p.Name, err)
	}
	killed := func() bool { return rapid.IntRange(0, 4).Draw(t, "killed") == 0 }
	switch decided.step {
	case record:
		s.state = *decided.state
	case restart:
		s.up[p.Name] = true
	case begin:
		state := s.state
		if decided.state != nil {
			state = *decided.state
		}
		d.permit = state.Permits[p.Name]
		if killed() {
			return
		}
		s.state = state
		if killed() {
			return
		}
		d.log, d.id, d.seen = true, uint64(slices.Index(s.peers, p)+1), 0
		s.up[p.Name] = true
	case join:
		delete(s.voters, p.Name)
		if killed() || s.majority() == nil {
			return
		}
		s.nextID++
		s.voters[p.Name] = s.nextID
		d.permit, d.log, d.id, d.seen = "", true, s.nextID, s.writes
		s.up[p.Name] = true
	}
}

// TestNothingIsEverBootstrappedTwice lets members start, die and lose their disks in any order: where a
// majority answers, it has everything that was ever acknowledged.
func TestNothingIsEverBootstrappedTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSimulation()
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			p := s.peers[rapid.IntRange(0, 2).Draw(t, "member")]
			switch rapid.SampledFrom([]string{"start", "start", "start", "kill", "wipe", "write"}).Draw(t, "step") {
			case "start":
				s.start(t, p)
			case "kill":
				s.up[p.Name] = false
			case "wipe":
				s.up[p.Name] = false
				*s.disks[p.Name] = disk{}
			case "write":
				if up := s.majority(); up != nil {
					s.writes++
					for _, name := range up {
						s.disks[name].seen = s.writes
					}
				}
			}
			up := s.majority()
			if up == nil {
				continue
			}
			newest := 0
			for _, name := range up {
				newest = max(newest, s.disks[name].seen)
			}
			if newest != s.writes {
				t.Fatalf("the majority %v has %d writes of %d: %v", up, newest, s.writes, maps.Collect(maps.All(s.disks)))
			}
			// What the majority has, its members get.
			for _, name := range up {
				s.disks[name].seen = s.writes
			}
		}
	})
}
