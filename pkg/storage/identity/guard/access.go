// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/storage/identity"
)

// configMap is the ConfigMap that something was read from; nil where there was
// none.
type configMap = corev1.ConfigMap

// damagedError says that the ConfigMap does not parse.
type damagedError struct{ cause error }

func (e *damagedError) Error() string {
	return fmt.Sprintf("ConfigMap %s is damaged: %v; repair it, or delete it, and Muster makes it anew if etcd's content is its own", identity.ConfigMapName, e.cause)
}

func (e *damagedError) Unwrap() error { return e.cause }

// markKey is where the mark lies in etcd.
func (g *Guard) markKey() string { return g.opts.Prefix + "/installation" }

// read returns the storage as it is now, and the revision of its mark, 0 where
// it has none. It is one linearizable read.
func (g *Guard) read(ctx context.Context) (identity.Found, int64, error) {
	ctx, cancel := context.WithTimeout(ctx, accessTimeout)
	defer cancel()
	resp, err := g.opts.Client.Txn(ctx).Then(
		clientv3.OpGet(g.markKey()),
		clientv3.OpGet(g.opts.Prefix+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1)),
	).Commit()
	if err != nil {
		return identity.Found{}, 0, fmt.Errorf("read the mark of this installation from etcd: %w", err)
	}
	found := identity.Found{
		Prefix:    g.opts.Prefix,
		ClusterID: strconv.FormatUint(resp.Header.ClusterId, 16),
		Revision:  resp.Header.Revision,
		Empty:     len(resp.Responses[1].GetResponseRange().Kvs) == 0,
	}
	kvs := resp.Responses[0].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return found, 0, nil
	}
	// A mark that cannot be read names nobody, and is replaced by confirmation.
	if mark, err := identity.ParseMark(kvs[0].Value); err == nil {
		found.Installation, found.NamespaceUID = mark.ID, mark.NamespaceUID
	}
	return found, kvs[0].ModRevision, nil
}

// Installation is the ID of the installation that the storage belongs to, as its
// mark says.
func (g *Guard) Installation(ctx context.Context) (string, error) {
	found, _, err := g.read(ctx)
	if err == nil && found.Installation == "" {
		err = fmt.Errorf("read the mark of this installation from etcd: there is %s", found)
	}
	return found.Installation, err
}

// mark writes a mark where the last one is still at revision. Where it is not,
// another server was first, and nothing is written.
func (g *Guard) mark(ctx context.Context, mark identity.Mark, revision int64) error {
	raw, err := mark.Encode()
	if err != nil {
		return err
	}
	_, err = g.opts.Client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(g.markKey()), "=", revision)).
		Then(clientv3.OpPut(g.markKey(), raw)).
		Commit()
	if err != nil {
		return fmt.Errorf("mark etcd's content as this installation's: %w", err)
	}
	return nil
}

// stored reads the ConfigMap. Its error is a *damagedError where that does not
// parse; the ConfigMap is returned all the same.
func (g *Guard) stored(ctx context.Context) (identity.Stored, *configMap, error) {
	found, err := g.opts.Host.CoreV1().ConfigMaps(g.opts.Namespace).Get(ctx, identity.ConfigMapName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return identity.Stored{}, nil, nil
	}
	if err != nil {
		return identity.Stored{}, nil, fmt.Errorf("read ConfigMap %s/%s: %w", g.opts.Namespace, identity.ConfigMapName, err)
	}
	stored, err := identity.Parse(found.Data)
	if err != nil {
		return identity.Stored{}, found, &damagedError{cause: err}
	}
	return stored, found, nil
}

// store writes the ConfigMap, guarded by the resourceVersion of the one that was
// read. Its error is one of isRace where another server was first.
func (g *Guard) store(ctx context.Context, read *configMap, stored identity.Stored) error {
	data, err := stored.Encode()
	if err != nil {
		return err
	}
	configMaps := g.opts.Host.CoreV1().ConfigMaps(g.opts.Namespace)
	if read == nil {
		_, err = configMaps.Create(ctx, identity.NewConfigMap(g.opts.Namespace, data), metav1.CreateOptions{})
	} else {
		updated := read.DeepCopy()
		updated.Data = data
		_, err = configMaps.Update(ctx, updated, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("keep what is known of the storage in ConfigMap %s/%s: %w", g.opts.Namespace, identity.ConfigMapName, err)
	}
	return nil
}
