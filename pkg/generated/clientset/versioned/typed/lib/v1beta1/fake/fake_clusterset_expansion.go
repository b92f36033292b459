// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// GetSelectionWithOptions answers as GetSelection does, whatever the other options.
func (c *fakeClusterSets) GetSelectionWithOptions(ctx context.Context, name string, options v1beta1.SelectionOptions) (*v1beta1.Selection, error) {
	return c.GetSelection(ctx, name, metav1.GetOptions{ResourceVersion: options.ResourceVersion})
}
