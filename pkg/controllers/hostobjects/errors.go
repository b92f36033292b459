// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package hostobjects

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
)

// ErrNotAllowed means that the reader, or the server as it was set up, may not read the
// object: somebody has to change the profile or the server's flags.
var ErrNotAllowed = errors.New("may not be read")

// Error says which object could not be read. It holds nothing of its content.
type Error struct {
	Want Want
	Err  error
}

// Error names the object.
func (e *Error) Error() string { return e.Want.String() + " of the host: " + e.message() }

func (e *Error) message() string {
	switch {
	case e.NoKind():
		return fmt.Sprintf("the host has no kind %s at %s", e.Want.Kind.Kind, e.Want.Kind.GroupVersion())
	case e.Missing():
		return "does not exist"
	}
	return e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// NoKind reports whether the host does not know the kind. Nothing tells when it does.
func (e *Error) NoKind() bool { return meta.IsNoMatchError(e.Err) }

// Missing reports whether the object does not exist, or its kind.
func (e *Error) Missing() bool { return e.NoKind() || apierrors.IsNotFound(e.Err) }

// Refused reports whether a person has to give a right, or to name another object.
func (e *Error) Refused() bool {
	return errors.Is(e.Err, ErrNotAllowed) || apierrors.IsForbidden(e.Err)
}

// rightError names the rule that is missing in the host's RBAC.
type rightError struct {
	rule string
	err  error
}

func (e *rightError) Error() string {
	return "Muster has no right to read it: grant its ServiceAccount on the host the rule " + e.rule
}

func (e *rightError) Unwrap() error { return e.err }

// explain says what a person can do about an error of the host's.
func (s *Store) explain(ctx context.Context, want Want, t target, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = fmt.Errorf("the host did not answer a list of %s within %s: %w", t.resource.GroupResource(), watchLimit, err)
	}
	if apierrors.IsForbidden(err) {
		where := ""
		if t.namespace != "" {
			where = fmt.Sprintf(", for all namespaces or for %q", t.namespace)
		}
		err = &rightError{
			rule: fmt.Sprintf("{apiGroups: [%s], resources: [%s], verbs: [get, list, watch]}%s",
				strconv.Quote(t.resource.Group), t.resource.Resource, where),
			err: err,
		}
	}
	return &Error{Want: want, Err: err}
}
