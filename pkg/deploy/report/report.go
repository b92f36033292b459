// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package report remembers what profiles in mode DryRun would change: one record for each
// profile and cluster, which the leader writes and every replica reads.
package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/fleet"
)

// prefix is where the keys of all reports start.
const prefix = "reports/"

// maxMessages bounds the diffs of one report, in bytes together: reports are listed.
const maxMessages = 512 << 10

// tooLong stands where a diff was left out.
const tooLong = "the diff is left out, the report is too long; ask for it with kubectl muster diff"

// Errors of whoever finds reports out on demand.
var (
	// ErrNoProfile says that there is no such profile.
	ErrNoProfile = errors.New("the profile does not exist")
	// ErrNoMatch says that a profile neither matches a cluster nor has anything there.
	ErrNoMatch = errors.New("the profile does not match the cluster, and has nothing there")
)

// Report is what one profile would change on one cluster.
type Report struct {
	Cluster fleet.Ref       `json:"cluster"`
	Owner   inventory.Owner `json:"owner"`
	// Time is when it was found out.
	Time metav1.Time `json:"time"`

	deploy.Preview `json:",inline"`
}

// Store reads and writes reports.
type Store struct {
	backend inventory.Backend
}

// NewStore returns a Store that keeps its reports in the backend.
func NewStore(backend inventory.Backend) *Store { return &Store{backend: backend} }

// Put writes a report. Diffs beyond what one may hold are left out.
func (s *Store) Put(ctx context.Context, r Report) error {
	value, err := json.Marshal(bounded(r))
	if err != nil {
		return fmt.Errorf("encoding the report of %s on %s: %w", r.Owner, r.Cluster, err)
	}
	if err := s.backend.Put(ctx, key(r.Cluster, r.Owner.Key()), value); err != nil {
		return fmt.Errorf("writing the report of %s on %s: %w", r.Owner, r.Cluster, err)
	}
	return nil
}

func bounded(r Report) Report {
	left := maxMessages
	objects := make([]deploy.ObjectChange, len(r.Objects))
	copy(objects, r.Objects)
	for i := range objects {
		if left -= len(objects[i].Message); left < 0 && len(objects[i].Message) > len(tooLong) {
			objects[i].Message = tooLong
		}
	}
	r.Objects = objects
	return r
}

// Delete forgets a report. One that is not there is no error.
func (s *Store) Delete(ctx context.Context, cluster fleet.Ref, owner inventory.OwnerKey) error {
	// Most have none, and a read costs less than a write.
	if _, found, err := s.backend.Get(ctx, key(cluster, owner)); err == nil && !found {
		return nil
	}
	if err := s.backend.Delete(ctx, key(cluster, owner)); err != nil {
		return fmt.Errorf("deleting the report of %s on %s: %w", owner, cluster, err)
	}
	return nil
}

// DeleteCluster forgets all reports of a cluster.
func (s *Store) DeleteCluster(ctx context.Context, cluster fleet.Ref) error {
	reports, err := s.list(ctx, prefix+segment(cluster.Namespace)+"/"+segment(cluster.Name)+"/")
	if err != nil {
		return err
	}
	for _, r := range reports {
		if r.Cluster == cluster {
			if err := s.Delete(ctx, cluster, r.Owner.Key()); err != nil {
				return err
			}
		}
	}
	return nil
}

// List returns the reports of the clusters in a namespace, or of all if it is empty.
func (s *Store) List(ctx context.Context, namespace string) ([]Report, error) {
	if namespace == "" {
		return s.list(ctx, prefix)
	}
	return s.list(ctx, prefix+segment(namespace)+"/")
}

func (s *Store) list(ctx context.Context, under string) ([]Report, error) {
	var reports []Report
	err := s.backend.List(ctx, under, func(key string, value []byte) error {
		r := Report{}
		if err := json.Unmarshal(value, &r); err != nil {
			return fmt.Errorf("report %s is damaged: %w", key, err)
		}
		reports = append(reports, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing reports under %s: %w", under, err)
	}
	return reports, nil
}

func key(cluster fleet.Ref, owner inventory.OwnerKey) string {
	return prefix + strings.Join([]string{
		segment(cluster.Namespace), segment(cluster.Name), segment(owner.Kind), segment(owner.Namespace), segment(owner.Name),
	}, "/")
}

// segment makes one part of a key of a name. "_" can't be a name.
func segment(name string) string {
	if name == "" {
		return "_"
	}
	return name
}
