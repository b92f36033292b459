// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/muster-project/muster/pkg/controllers/profile"
	"github.com/muster-project/muster/pkg/deploy/history"
)

// sweepHistory removes at times what nothing in the history refers to any more.
// Nobody waits for it.
func (p *parts) sweepHistory(ctx context.Context, live client.Reader) error {
	for {
		// The pause comes first: a term that begins has better things to do.
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(history.SweepInterval):
		}
		if err := p.sweepHistoryOnce(ctx, live); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "Sweeping the history")
		}
	}
}

func (p *parts) sweepHistoryOnce(ctx context.Context, live client.Reader) error {
	owners, err := p.history.Owners(ctx)
	if err != nil {
		return err
	}
	for _, owner := range owners {
		// Read live: a cache that is behind would forget a profile that is there.
		exists, _, err := profile.Exists(ctx, live, owner)
		if err != nil {
			return err
		}
		if exists {
			continue
		}
		if err := p.history.Forget(ctx, owner); err != nil {
			return err
		}
	}
	swept, err := p.history.Sweep(ctx)
	if swept > 0 {
		klog.FromContext(ctx).Info("Removed what nothing in the history refers to", "records", swept)
	}
	return err
}
