// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package revisions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	configapi "github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/registry/config/clustersummary"
)

// kept are revisions, and how often each was asked for.
type kept struct {
	specs map[string]*v1beta1.ProfileSpec
	err   error
	asked map[string]int
}

func (k *kept) Get(_ context.Context, name string) (revision.Revision, error) {
	k.asked[name]++
	if k.err != nil {
		return revision.Revision{}, k.err
	}
	if spec := k.specs[name]; spec != nil {
		return revision.Revision{Name: name, Spec: spec}, nil
	}
	return revision.Revision{}, revision.ErrNotFound
}

func TestRevisions(t *testing.T) {
	source := &kept{asked: map[string]int{}, specs: map[string]*v1beta1.ProfileSpec{"r": {SetRefs: []string{"prod"}}}}
	revisions := New(source)
	for range 3 {
		got, err := revisions.Get(t.Context(), "r")
		if err != nil {
			t.Fatal(err)
		}
		// Written before there were defaults, and shown with them.
		want := &configapi.ProfileSpec{
			SetRefs: []string{"prod"}, SyncMode: configapi.SyncModeContinuous, Tier: 100, StopMatchingBehavior: configapi.WithdrawPolicies,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("spec (-want +got):\n%s", diff)
		}
	}
	if source.asked["r"] != 1 {
		t.Errorf("an immutable revision was read %d times", source.asked["r"])
	}
	if source.specs["r"].Tier != 0 {
		t.Error("the source's own spec was changed")
	}
}

// Only these are shown as missing; all others are to be asked for again.
func TestLostRevisions(t *testing.T) {
	for err, want := range map[error]bool{
		revision.ErrNotFound:            true,
		revision.ErrDamaged:             true,
		errors.New("the store is away"): false,
	} {
		_, got := New(&kept{asked: map[string]int{}, err: fmt.Errorf("read: %w", err)}).Get(t.Context(), "r")
		if got == nil || errors.As(got, &clustersummary.LostError{}) != want {
			t.Errorf("%v is answered with %#v, lost: %t", err, got, want)
		}
	}
}

func TestAMissingRevisionIsNotRemembered(t *testing.T) {
	source := &kept{asked: map[string]int{}, specs: map[string]*v1beta1.ProfileSpec{}}
	revisions := New(source)
	if _, err := revisions.Get(t.Context(), "late"); err == nil || !strings.Contains(err.Error(), "revision late of the profile does not exist") {
		t.Errorf("error is %v", err)
	}
	source.specs["late"] = &v1beta1.ProfileSpec{}
	if _, err := revisions.Get(t.Context(), "late"); err != nil {
		t.Errorf("a revision that has come is not found: %v", err)
	}
	source.err = errors.New("the store is away")
	if _, err := revisions.Get(t.Context(), "other"); !errors.Is(err, source.err) {
		t.Errorf("error is %v", err)
	}
}
