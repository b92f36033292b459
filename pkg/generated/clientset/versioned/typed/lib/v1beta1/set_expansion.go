// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import (
	"context"

	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/generated/clientset/versioned/scheme"
)

// SetExpansion has what cannot be generated.
type SetExpansion interface {
	// GetSelectionWithOptions reads subresource selection with its own parameters,
	// which GetSelection has no place for.
	GetSelectionWithOptions(ctx context.Context, name string, options v1beta1.SelectionOptions) (*v1beta1.Selection, error)
}

func (c *sets) GetSelectionWithOptions(ctx context.Context, name string, options v1beta1.SelectionOptions) (*v1beta1.Selection, error) {
	result := &v1beta1.Selection{}
	err := c.GetClient().Get().
		Namespace(c.GetNamespace()).
		Resource("sets").
		Name(name).
		SubResource("selection").
		VersionedParams(&options, scheme.ParameterCodec).
		Do(ctx).
		Into(result)
	return result, err
}
