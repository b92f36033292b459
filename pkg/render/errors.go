// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"errors"
	"fmt"
	"strings"
)

// Why a source or a part of it was refused. SourceError wraps them; compare with
// errors.Is.
var (
	// ErrEmpty means that a source holds no object at all.
	ErrEmpty = errors.New("holds no objects")
	// ErrTooLarge means that an object exceeds MaxObject, a document MaxDocument or a
	// source MaxSet.
	ErrTooLarge = errors.New("too large")
	// ErrInvalid means that a part of a source is no object that Kubernetes could take.
	ErrInvalid = errors.New("invalid")
	// ErrDuplicate means that a source holds the same object twice.
	ErrDuplicate = errors.New("object is there twice")
	// ErrSecretType means that a Secret is not of type SecretType.
	ErrSecretType = errors.New("wrong Secret type")
)

// SourceError says where in a source the trouble is. It holds nothing of the contents of
// a Secret: for those Object is empty and Err names a line at most.
type SourceError struct {
	// Kind, Namespace and Name of the source.
	Kind, Namespace, Name string
	// Key of the source's data; empty where the source as a whole is meant.
	Key string
	// Document within the key, counted from 1 and without the empty ones; 0 where the key
	// as a whole is meant.
	Document int
	// Object is the kind, namespace and name of the object in question, where known.
	Object string
	// Err is the reason.
	Err error
}

func (e *SourceError) Error() string {
	var b strings.Builder
	b.WriteString(sourceName(e.Kind, e.Namespace, e.Name))
	if e.Key != "" {
		fmt.Fprintf(&b, ", key %q", e.Key)
	}
	if e.Document > 0 {
		fmt.Fprintf(&b, ", document %d", e.Document)
	}
	if e.Object != "" {
		fmt.Fprintf(&b, ", %s", e.Object)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap returns the reason.
func (e *SourceError) Unwrap() error { return e.Err }

func sourceName(kind, namespace, name string) string {
	if namespace == "" {
		return kind + " " + name
	}
	return kind + " " + namespace + "/" + name
}
