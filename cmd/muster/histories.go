// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/muster-project/muster/pkg/apiserver/histories"
	"github.com/muster-project/muster/pkg/deploy/history"
	"github.com/muster-project/muster/pkg/storage/records"
)

// newHistories shows what is recorded of profiles. Secrets are compared with what
// they were as Muster itself reads them.
func newHistories(store *records.Store, specs histories.Specs, host kubernetes.Interface) *histories.Histories {
	return &histories.Histories{
		Records: history.NewReader(store),
		Specs:   specs,
		Secret: func(ctx context.Context, namespace, name string) (history.Content, error) {
			secret, err := host.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return history.Content{}, err
			}
			return history.Content{Type: string(secret.Type), Annotations: history.Meaningful(secret.Annotations), Data: secret.Data}, nil
		},
	}
}
