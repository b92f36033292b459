// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package solitary lets one server of an installation embed its etcd. A second
// one would have an etcd of its own: two fleets under one API, of which every
// request would see another.
//
// A Lease in the installation's namespace says who embeds. Its holder is the
// data directory and not the process, so that a server that crashed takes it
// over at once, which the directory's lock makes safe. Whoever comes with
// another directory watches the Lease for as long as it lasts: where it is
// renewed meanwhile, another server lives. Clocks of two machines are never
// compared.
package solitary

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
)

// LeaseName is the Lease of whoever embeds etcd.
const LeaseName = "muster-embedded-etcd"

const (
	holderFile                  = "holder"
	holderMode      fs.FileMode = 0o600
	defaultDuration             = 6 * time.Second
	releaseTimeout              = 2 * time.Second
)

// ErrTaken says that another server of the installation embeds etcd.
var ErrTaken = errors.New("another server of this installation runs with an embedded etcd")

// Options are a tenure's parts and limits.
type Options struct {
	// Host and Namespace are where the Lease is. Required.
	Host      kubernetes.Interface
	Namespace string
	// DataDir is the data directory of the embedded etcd. Required. The caller has
	// locked it.
	DataDir string
	// Server names this process in messages, a hostname for one.
	Server string
	// Duration is how long a Lease lasts that is not renewed. Default: 6 s.
	Duration time.Duration
}

// Tenure is the right to embed etcd.
type Tenure struct {
	opts   Options
	holder string
}

// Acquire takes the Lease. Its error is ErrTaken where another server holds and
// renews it. It may take as long as the Lease of a server lasts that crashed on
// another data directory.
func Acquire(ctx context.Context, opts Options) (*Tenure, error) {
	opts.Duration = cmp.Or(opts.Duration, defaultDuration)
	id, err := identify(opts.DataDir)
	if err != nil {
		return nil, err
	}
	t := &Tenure{opts: opts, holder: opts.Server + "_" + id}
	for {
		lease, err := t.lease(ctx)
		if err != nil {
			return nil, err
		}
		if lease != nil && !t.free(lease) {
			if err := t.watch(ctx, lease); err != nil {
				return nil, err
			}
			if lease, err = t.unchanged(ctx, lease); err != nil {
				return nil, err
			}
		}
		err = t.take(ctx, lease)
		if err == nil {
			return t, nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return nil, err
		}
	}
}

// identify returns the ID of a data directory, which is drawn at its first use.
func identify(dir string) (string, error) {
	path := filepath.Join(dir, holderFile)
	raw, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(raw)); err == nil && id != "" {
		return id, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("data directory %s cannot be read: %w", dir, err)
	}
	id := string(uuid.NewUUID())
	if err := os.WriteFile(path, []byte(id+"\n"), holderMode); err != nil {
		return "", fmt.Errorf("data directory %s cannot be written: %w", dir, err)
	}
	return id, nil
}

// lease returns the Lease, nil where there is none.
func (t *Tenure) lease(ctx context.Context) (*coordinationv1.Lease, error) {
	lease, err := t.opts.Host.CoordinationV1().Leases(t.opts.Namespace).Get(ctx, LeaseName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Lease %s/%s, which says who embeds etcd: %w", t.opts.Namespace, LeaseName, err)
	}
	return lease, nil
}

// free says whether the Lease is nobody's, or this data directory's.
func (t *Tenure) free(lease *coordinationv1.Lease) bool {
	holder := ptr.Deref(lease.Spec.HolderIdentity, "")
	return holder == "" || directory(holder) == directory(t.holder)
}

// directory is the part of a holder that names its data directory.
func directory(holder string) string {
	return holder[strings.LastIndex(holder, "_")+1:]
}

// watch waits as long as a Lease lasts that nobody renews.
func (t *Tenure) watch(ctx context.Context, lease *coordinationv1.Lease) error {
	lasts := time.Duration(ptr.Deref(lease.Spec.LeaseDurationSeconds, 0)) * time.Second
	// A Lease that somebody has made to last long is no reason to wait that long.
	lasts = min(max(lasts, t.opts.Duration), 5*t.opts.Duration)
	klog.FromContext(ctx).Info("Another server of this installation had its etcd embedded; waiting to see whether it lives",
		"holder", ptr.Deref(lease.Spec.HolderIdentity, ""), "for", lasts)
	timer := time.NewTimer(lasts)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the Lease of whoever embeds etcd: %w", context.Cause(ctx))
	}
}

// unchanged returns the Lease as it is, or ErrTaken if it was written since.
func (t *Tenure) unchanged(ctx context.Context, before *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	lease, err := t.lease(ctx)
	if err != nil || lease == nil || t.free(lease) {
		return lease, err
	}
	if lease.ResourceVersion != before.ResourceVersion {
		return nil, fmt.Errorf("%w (%s, by Lease %s/%s): each would have a fleet of its own; "+
			"run one replica, or give all of them the same etcd with --etcd-servers",
			ErrTaken, ptr.Deref(lease.Spec.HolderIdentity, ""), t.opts.Namespace, LeaseName)
	}
	return lease, nil
}

// take writes this server into the Lease as it was read.
func (t *Tenure) take(ctx context.Context, lease *coordinationv1.Lease) error {
	leases := t.opts.Host.CoordinationV1().Leases(t.opts.Namespace)
	now := metav1.NewMicroTime(time.Now())
	spec := coordinationv1.LeaseSpec{
		HolderIdentity:       &t.holder,
		LeaseDurationSeconds: ptr.To(max(1, int32(t.opts.Duration/time.Second))),
		AcquireTime:          &now,
		RenewTime:            &now,
	}
	var err error
	if lease == nil {
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
			Namespace: t.opts.Namespace, Name: LeaseName, Labels: map[string]string{"app.kubernetes.io/part-of": "muster"},
		}, Spec: spec}
		_, err = leases.Create(ctx, lease, metav1.CreateOptions{})
	} else {
		updated := lease.DeepCopy()
		if ptr.Deref(lease.Spec.HolderIdentity, "") == t.holder {
			spec.AcquireTime = lease.Spec.AcquireTime
		}
		updated.Spec = spec
		_, err = leases.Update(ctx, updated, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("write Lease %s/%s, which says who embeds etcd: %w", t.opts.Namespace, LeaseName, err)
	}
	return nil
}

// Run renews the Lease until ctx ends, and then gives it back. What fails is
// logged and tried again: a host that is away for a while does not end a server,
// and whoever takes the Lease then finds another etcd than is recorded.
func (t *Tenure) Run(ctx context.Context) error {
	ticker := time.NewTicker(t.opts.Duration / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			t.release(ctx)
			return nil
		case <-ticker.C:
		}
		if err := t.renew(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "The Lease of the embedded etcd could not be renewed")
		}
	}
}

func (t *Tenure) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, t.opts.Duration/3)
	defer cancel()
	lease, err := t.lease(ctx)
	if err != nil {
		return err
	}
	if lease != nil && !t.free(lease) {
		return fmt.Errorf("%w: %s", ErrTaken, ptr.Deref(lease.Spec.HolderIdentity, ""))
	}
	return t.take(ctx, lease)
}

// release lets another server take over at once.
func (t *Tenure) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	lease, err := t.lease(ctx)
	if err == nil && lease != nil && ptr.Deref(lease.Spec.HolderIdentity, "") == t.holder {
		lease.Spec.HolderIdentity = nil
		_, err = t.opts.Host.CoordinationV1().Leases(t.opts.Namespace).Update(ctx, lease, metav1.UpdateOptions{})
	}
	if err != nil {
		klog.FromContext(ctx).Error(err, "The Lease of the embedded etcd could not be given back; it ends by itself")
	}
}
