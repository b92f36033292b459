// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.uber.org/zap"
)

// situation is all that a member knows when it decides how to start.
type situation struct {
	// self is this member, and initialCluster all of them, as they are configured.
	self           Peer
	initialCluster string
	// volume is what its data directory holds, nil if nothing.
	volume *volume
	// permit is the permit to begin that its data directory holds, or empty.
	permit string
	// state is what the members agreed on. unknown says why it could not be asked for.
	state   State
	unknown error
	// view is what a majority of the cluster says about its members, nil if none answers. silence is
	// what was heard instead.
	view    *view
	silence error
}

// view is the cluster's members, as a majority of them knows.
type view struct {
	clusterID string
	endpoint  string // of the member that answered
	members   []*etcdserverpb.Member
}

// step is what a member does next.
type step string

const (
	// restart starts etcd as the member that the data directory belongs to.
	restart step = "restart"
	// begin starts etcd with an empty log, as one of the first members.
	begin step = "begin"
	// join has the cluster accept this member as a learner, in place of those that it was before.
	join step = "join"
	// record writes the state, and decides again.
	record step = "record"
	// wait decides again later.
	wait step = "wait"
)

// decision is a step and what it needs.
type decision struct {
	step step
	// state is for record and begin: what has to be written first, if anything.
	state *State
	// replaces is for join: the members that this one was before it lost its data.
	replaces []uint64
	// why is for wait: a sentence that says what is missing and what to do.
	why string
}

// decide is the one place that says how a member starts. An error means that something is not what it
// should be, and that nothing may be touched.
func decide(s situation) (decision, error) {
	if s.volume != nil {
		return decideWithData(s)
	}
	if s.unknown != nil {
		return decision{step: wait, why: fmt.Sprintf("it is not known whether the cluster was bootstrapped before: %v", s.unknown)}, nil
	}
	if s.view != nil {
		return decideBesideMajority(s)
	}
	return decideAlone(s)
}

// decideWithData is for a member that has its data. It needs nobody to start again, and so a host
// cluster that is down, or other members that are, do not keep it from starting.
func decideWithData(s situation) (decision, error) {
	data := s.volume
	if s.view != nil && s.view.clusterID != data.clusterID {
		return decision{}, fmt.Errorf("the data directory belongs to etcd cluster %s, and the etcd at %s is cluster %s: "+
			"this volume or that address is another installation's", data.clusterID, s.view.endpoint, s.view.clusterID)
	}
	if s.view != nil && s.view.find(func(m *etcdserverpb.Member) bool { return types.ID(m.ID).String() == data.memberID }) == nil {
		return decision{}, fmt.Errorf("the data directory belongs to member %s, which was removed from the cluster: "+
			"empty the directory, and this member joins anew", data.memberID)
	}
	if s.unknown != nil {
		if data.restored != nil {
			return decision{step: wait, why: fmt.Sprintf("that the cluster was restored cannot be recorded: %v", s.unknown)}, nil
		}
		return decision{step: restart}, nil
	}
	known := s.state.ClusterID
	switch {
	case known == data.clusterID:
		return decision{step: restart}, nil
	case known == "":
		return decision{step: record, state: adopted(s.state, data)}, nil
	case data.restored != nil && (s.state.Restored == nil || s.state.Restored.Before(data.restored.At)):
		return decision{step: record, state: adopted(s.state, data)}, nil
	default:
		return decision{}, fmt.Errorf("the data directory belongs to etcd cluster %s, and this installation's is cluster %s: "+
			"the volume is another installation's, or is from before a restore", data.clusterID, known)
	}
}

// adopted is the state of a cluster that exists already, and that nobody may begin again.
func adopted(previous State, data *volume) *State {
	state := State{ClusterID: data.clusterID, Restored: previous.Restored, Version: previous.Version}
	if data.restored != nil {
		state.Restored = new(data.restored.At)
	}
	return &state
}

// decideBesideMajority is for a member without data where the cluster answers.
func decideBesideMajority(s situation) (decision, error) {
	if s.state.ClusterID == "" {
		return decision{step: record, state: adopted(s.state, &volume{clusterID: s.view.clusterID})}, nil
	}
	if s.view.clusterID != s.state.ClusterID {
		return decision{}, fmt.Errorf("the etcd at %s is cluster %s, and this installation's is cluster %s: the address is another installation's",
			s.view.endpoint, s.view.clusterID, s.state.ClusterID)
	}
	same := func(m *etcdserverpb.Member) bool {
		return m.Name == s.self.Name || slices.Contains(m.PeerURLs, s.self.PeerURL)
	}
	// The others were faster, and this one has never been there: it is still awaited as the first
	// member that it is, and has nothing to be replaced for.
	if mine := s.view.find(same); mine != nil && len(mine.ClientURLs) == 0 && !mine.IsLearner && s.mayBegin() {
		return decision{step: begin, state: s.permitted()}, nil
	}
	d := decision{step: join}
	for _, m := range s.view.members {
		if same(m) {
			d.replaces = append(d.replaces, m.ID)
		}
	}
	return d, nil
}

// decideAlone is for a member without data where no majority answers.
func decideAlone(s situation) (decision, error) {
	if isTLSFailure(s.silence) {
		return decision{}, fmt.Errorf("the other members and this one do not accept each other's certificates, compare their CAs: %w", s.silence)
	}
	switch {
	case s.state.ClusterID == "":
		state, err := created(s.initialCluster, s.state.Version)
		return decision{step: record, state: state}, err
	case s.mayBegin():
		return decision{step: begin, state: s.permitted()}, nil
	case s.state.Token != "" && !s.isFirst():
		return decision{step: wait, why: "this member came after the cluster's first ones and joins when a majority of them is up"}, nil
	default:
		return decision{step: wait, why: "this member's data is gone and no majority of the cluster is up to take it back in; " +
			"bring the other members back, or if their data is gone too, use muster restore on all of them. " +
			"The cluster is not bootstrapped anew, because that would look as if everything had been deleted"}, nil
	}
}

// created is the state of a cluster that does not exist yet. Members that do this at the same time
// agree on the one whose state was written.
func created(initialCluster, version string) (*State, error) {
	token := rand.Text()
	urls, err := types.NewURLsMap(initialCluster)
	if err != nil {
		return nil, fmt.Errorf("members %s: %w", initialCluster, err)
	}
	cluster, err := membership.NewClusterFromURLsMap(zap.NewNop(), token, urls)
	if err != nil {
		return nil, fmt.Errorf("members %s: %w", initialCluster, err)
	}
	return &State{ClusterID: cluster.ID().String(), Token: token, InitialCluster: initialCluster, Version: version}, nil
}

// isFirst tells whether this is one of the members that the cluster was made of.
func (s situation) isFirst() bool {
	return slices.Contains(strings.Split(s.state.InitialCluster, ","), s.self.Name+"="+s.self.PeerURL)
}

// mayBegin tells whether this member has never had a log.
func (s situation) mayBegin() bool {
	taken := s.state.Permits[s.self.Name]
	return s.state.Token != "" && s.isFirst() && (taken == "" || taken == s.permit)
}

// permitted is the state in which this member has its permit, or nil if that is so already.
func (s situation) permitted() *State {
	if taken := s.state.Permits[s.self.Name]; taken != "" {
		return nil
	}
	state := s.state
	state.Permits = map[string]string{}
	for name, permit := range s.state.Permits {
		state.Permits[name] = permit
	}
	permit := s.permit
	if permit == "" {
		permit = rand.Text()
	}
	state.Permits[s.self.Name] = permit
	return &state
}

func (v *view) find(match func(*etcdserverpb.Member) bool) *etcdserverpb.Member {
	if i := slices.IndexFunc(v.members, match); i >= 0 {
		return v.members[i]
	}
	return nil
}
