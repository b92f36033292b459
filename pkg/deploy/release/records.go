// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"fmt"

	helmrelease "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// records are the records of releases, Helm's but for one thing: Helm leaves out those
// that it can't read, and what remains tells another story. A release that works would
// look like one that never has, which is uninstalled before the next attempt.
type records struct {
	*driver.Secrets
	// unread counts those that were left out so far.
	unread int
}

func newRecords(secrets corev1.SecretInterface) *records {
	r := &records{Secrets: driver.NewSecrets(secrets)}
	// It speaks of nothing else, and what it says is never shown: it prints Secrets.
	r.Log = func(string, ...any) { r.unread++ }
	return r
}

// Query implements driver.Queryor.
func (r *records) Query(labels map[string]string) ([]*helmrelease.Release, error) {
	before := r.unread
	found, err := r.Secrets.Query(labels)
	if left := r.unread - before; err == nil && left > 0 {
		return nil, fmt.Errorf("%d of its revisions can't be read, and it is not known whether it works: repair or delete their Secrets, which have the labels owner=helm,name=%s", left, labels["name"])
	}
	return found, err
}
