// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/muster-project/muster/pkg/fleet/gather"
	"github.com/muster-project/muster/pkg/script"
	"github.com/muster-project/muster/pkg/script/rule"
)

// explain says what went wrong in words that are the same each time: those of a connection
// have ports in them.
func explain(err error) string {
	if own, ok := errors.AsType[*script.LuaError](err); ok {
		if own.Line > 0 {
			return fmt.Sprintf("its script fails: line %d: %s", own.Line, own.Message)
		}
		return "its script fails: " + own.Message
	}
	if _, ok := errors.AsType[*apierrors.StatusError](err); ok {
		return err.Error()
	}
	for _, limit := range []error{
		gather.ErrTooMuch, rule.ErrLimit, script.ErrTimeout, script.ErrMemory, script.ErrOutput, script.ErrInput,
	} {
		if errors.Is(err, limit) {
			return err.Error()
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "it took too long"
	}
	return "the cluster could not be read, or the script not be started"
}
