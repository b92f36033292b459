// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package trust keeps the API from saying anything that comes from storage
// which is not known to be the installation's.
//
// A wiped etcd answers honestly that an object does not exist, and the host's
// garbage collector, its namespace controller and our own clients act on that.
// So everything that is asked about objects is answered with 503 while storage
// is held, and an answer that means "there is nothing", a 404 or a list, leaves
// only after storage was found to be the right one since. Discovery is served
// on: without it the host would believe that the groups have no objects.
package trust

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/endpoints/responsewriter"
	"k8s.io/apiserver/pkg/server/healthz"

	"github.com/muster-project/muster/pkg/storage/identity"
)

// Storage is what a guard.Guard knows.
type Storage interface {
	// Err returns nil where storage is trusted.
	Err() error
	// Verify returns nil if storage could be trusted at a moment since the call.
	Verify(ctx context.Context) error
	// Lost ends when storage is not trusted any more.
	Lost() context.Context
	// Ready returns why traffic should go elsewhere.
	Ready() error
}

// Filter serves next as long as storage can be trusted. It concerns requests
// for resources of groups, and expects to find what a request asks for in its
// context. codecs encode its own answers.
func Filter(next http.Handler, storage Storage, codecs runtime.NegotiatedSerializer, groups ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info, ok := request.RequestInfoFrom(r.Context())
		if !ok || !info.IsResourceRequest || !slices.Contains(groups, info.APIGroup) {
			next.ServeHTTP(w, r)
			return
		}
		f := &filtered{ResponseWriter: w, request: r, info: info, storage: storage, codecs: codecs}
		if err := f.before(); err != nil {
			f.refuse(err)
			return
		}
		// Watches end with the trust, and so do writes that are under way.
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		lost := storage.Lost()
		stop := context.AfterFunc(lost, func() { cancel(context.Cause(lost)) })
		defer stop()
		next.ServeHTTP(responsewriter.WrapForHTTP1Or2(f), r.WithContext(ctx))
	})
}

// filtered is one request and its answer.
type filtered struct {
	http.ResponseWriter
	request *http.Request
	info    *request.RequestInfo
	storage Storage
	codecs  runtime.NegotiatedSerializer

	begun   bool // the answer has a status
	refused bool // and it is ours
}

var _ responsewriter.UserProvidedDecorator = &filtered{}

// Unwrap returns the writer that answers go to.
func (f *filtered) Unwrap() http.ResponseWriter { return f.ResponseWriter }

// before returns why a request is not even tried. A write asks etcd first: what
// is written into somebody else's storage cannot be taken back.
func (f *filtered) before() error {
	switch f.info.Verb {
	case "get", "list", "watch":
		return f.storage.Err()
	}
	return f.storage.Verify(f.request.Context())
}

// claimsAbsence says whether an answer with this status can mean that there is
// nothing.
func (f *filtered) claimsAbsence(status int) bool {
	switch f.info.Verb {
	case "list", "watch":
		return status == http.StatusOK || status == http.StatusNotFound
	}
	return status == http.StatusNotFound
}

// WriteHeader begins the answer, or ours in its place.
func (f *filtered) WriteHeader(status int) {
	if f.begun {
		return
	}
	f.begun = true
	if f.claimsAbsence(status) {
		if err := f.storage.Verify(f.request.Context()); err != nil {
			f.refused = true
			f.refuse(err)
			return
		}
	}
	f.ResponseWriter.WriteHeader(status)
}

// Write writes what belongs to the answer, and nothing if that is ours.
func (f *filtered) Write(content []byte) (int, error) {
	f.WriteHeader(http.StatusOK)
	if f.refused {
		return len(content), nil
	}
	written, err := f.ResponseWriter.Write(content)
	if err != nil {
		return written, fmt.Errorf("answer: %w", err)
	}
	return written, nil
}

// retryAfter is when a client tries again, in seconds, whose request ended while storage
// was being asked.
const retryAfter = 1

// refuse answers 503 with the reason. Where the request has ended that is not the storage's
// doing: a server that ends has ended a watch that was about to begin, and the client is to
// begin it anew elsewhere rather than to fail.
func (f *filtered) refuse(err error) {
	for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Type", "Transfer-Encoding", "Last-Modified", "ETag"} {
		f.ResponseWriter.Header().Del(name)
	}
	version := schema.GroupVersion{Group: f.info.APIGroup, Version: f.info.APIVersion}
	status := identity.Unavailable(err)
	if f.request.Context().Err() != nil && status.ErrStatus.Details == nil {
		status.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: retryAfter}
	}
	responsewriters.ErrorNegotiated(status, f.codecs, version, f.ResponseWriter, f.request)
}

// ReadyCheck says why traffic should go elsewhere.
func ReadyCheck(storage Storage) healthz.HealthChecker {
	return healthz.NamedCheck("storage-identity", func(*http.Request) error { return storage.Ready() })
}

// WhenTrusted is check for as long as storage is trusted. What is not read from
// storage that is held does not become ready, and is not needed to say so.
func WhenTrusted(storage Storage, check healthz.HealthChecker) healthz.HealthChecker {
	return healthz.NamedCheck(check.Name(), func(r *http.Request) error {
		if storage.Err() != nil {
			return storage.Ready()
		}
		return check.Check(r)
	})
}
