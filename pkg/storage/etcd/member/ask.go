// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-project/muster/pkg/storage/etcd"
)

// ask asks the other members, all at once, who is in the cluster. Each answers only if it is part of a
// majority. If none does, silence says what was heard instead.
func (m *member) ask(ctx context.Context) (answer *view, silence error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timing.Ask)
	defer cancel()
	type reply struct {
		view *view
		err  error
	}
	others := m.cfg.others()
	replies := make(chan reply, len(others))
	for _, endpoint := range others {
		go func() {
			v, err := m.askOne(ctx, endpoint)
			replies <- reply{v, err}
		}()
	}
	// All are waited for, or a question would outlive its asker. An answer ends the others'.
	var silences []error
	for range others {
		r := <-replies
		switch {
		case r.err == nil && answer == nil:
			answer = r.view
			cancel()
		case r.err != nil:
			silences = append(silences, r.err)
		}
	}
	if answer != nil {
		return answer, nil
	}
	return nil, errors.Join(silences...)
}

func (m *member) askOne(ctx context.Context, endpoint string) (*view, error) {
	if err := m.greet(ctx, endpoint); err != nil {
		return nil, fmt.Errorf("%s: %w", endpoint, err)
	}
	var v *view
	err := m.withClient(ctx, []string{endpoint}, func(client *clientv3.Client) error {
		resp, err := client.MemberList(ctx)
		if err == nil {
			v = &view{clusterID: types.ID(resp.Header.ClusterId).String(), endpoint: endpoint, members: resp.Members}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s is not part of a majority: %w", endpoint, err)
	}
	return v, nil
}

// greet makes a connection to an endpoint and ends it. Its error says what exactly went wrong, where
// gRPC tries again until time is up.
func (m *member) greet(ctx context.Context, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil {
		return err
	}
	config, err := m.cfg.ClientTLS.client()
	if err != nil {
		return err
	}
	// In later versions, that the server does not accept the client shows after the handshake only.
	config.MaxVersion = tls.VersionTLS12
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return err
	}
	return conn.Close()
}

// withClient lends a client that is closed afterwards.
func (m *member) withClient(ctx context.Context, endpoints []string, use func(*clientv3.Client) error) error {
	files := m.cfg.ClientTLS
	client, err := etcd.NewClient(ctx, etcd.ClientConfig{
		Endpoints: endpoints, CertFile: files.CertFile, KeyFile: files.KeyFile, CAFile: files.CAFile,
	})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // its error is that its context has ended
	return use(client)
}

// admit has the cluster remove what this member was before and accept it as a learner. It returns all
// members in the form of an initial cluster.
func (m *member) admit(ctx context.Context, v *view, replaces []uint64) (initialCluster string, err error) {
	self := m.cfg.self()
	asking, cancel := context.WithTimeout(ctx, m.cfg.Timing.Ask)
	defer cancel()
	if m.greet(asking, self.ClientURL) == nil {
		return "", fmt.Errorf("%w: another process serves as member %s at %s", errMisplaced, self.Name, self.ClientURL)
	}
	changing, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	err = m.withClient(changing, []string{v.endpoint}, func(client *clientv3.Client) error {
		for _, id := range replaces {
			if _, err := client.MemberRemove(changing, id); err != nil {
				return fmt.Errorf("remove member %s, which has lost its data: %w", types.ID(id), err)
			}
		}
		resp, err := client.MemberAddAsLearner(changing, []string{self.PeerURL})
		if err != nil {
			return fmt.Errorf("add this member: %w", err)
		}
		initialCluster = m.memberPairs(resp.Members)
		return nil
	})
	return initialCluster, err
}

// memberPairs is the members as etcd wants to be told them. Those that have not started are not named
// in the cluster yet, this one for one.
func (m *member) memberPairs(members []*etcdserverpb.Member) string {
	self := m.cfg.self()
	var pairs []string
	for _, other := range members {
		for _, peerURL := range other.PeerURLs {
			name := other.Name
			switch {
			case peerURL == self.PeerURL:
				name = self.Name
			case name == "":
				name = types.ID(other.ID).String()
			}
			pairs = append(pairs, name+"="+peerURL)
		}
	}
	return strings.Join(pairs, ",")
}
