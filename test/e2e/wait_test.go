// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/test/fleet"
)

// eventually waits until check succeeds. Its errors should say what it saw: the
// last one is in the failure.
func (s *scope) eventually(what string, within time.Duration, check func(context.Context) error) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), within)
	defer cancel()
	if err := fleet.Await(ctx, check); err != nil {
		s.Fatalf("waited %s until %s: %v", within, what, err)
	}
}

// always sees to it that check succeeds for all of that time. It is for what
// must not happen; the time has to cover when it would.
func (s *scope) always(what string, during time.Duration, check func(context.Context) error) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), during)
	defer cancel()
	// Awaiting a failure: one that comes in time is the test's.
	broken := errors.New("")
	err := fleet.Await(ctx, func(ctx context.Context) error {
		if broken = check(ctx); broken == nil || ctx.Err() != nil {
			broken = nil
			return errors.New("it holds")
		}
		return nil
	})
	if err == nil {
		s.Fatalf("it did not last %s that %s: %v", during, what, broken)
	}
}

// condition finds a condition and fails unless it has that status and, if one
// is given, that reason.
func condition(conditions []metav1.Condition, conditionType string, status metav1.ConditionStatus, reason string) error {
	found := meta.FindStatusCondition(conditions, conditionType)
	if found == nil || found.Status != status || reason != "" && found.Reason != reason {
		return fmt.Errorf("want condition %s=%s %s, have %s", conditionType, status, reason, asJSON(conditions))
	}
	return nil
}

// asJSON is for failure messages.
func asJSON(value any) string {
	data, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
