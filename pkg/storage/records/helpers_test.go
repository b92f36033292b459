// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package records

import (
	"context"
	"crypto/aes"
	"crypto/sha256"
	"math/rand/v2"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/apiserver/pkg/storage/value"
	aestransformer "k8s.io/apiserver/pkg/storage/value/encrypt/aes"

	"github.com/muster-project/muster/pkg/storage/etcd/etcdtest"
)

const prefix = "/registry/muster/test"

// smallChunk makes values of some kilobytes span chunks.
const smallChunk = 1 << 10

// newClient starts an etcd for the test.
func newClient(t testing.TB) *clientv3.Client {
	t.Helper()
	_, client := etcdtest.Start(t)
	return client
}

// newTerm raises the epoch and returns a store that writes under it.
func newTerm(t testing.TB, client *clientv3.Client) *Store {
	t.Helper()
	epoch, err := RaiseEpoch(t.Context(), client, prefix)
	if err != nil {
		t.Fatal(err)
	}
	return storeAt(t, client, epoch)
}

// storeAt returns an encrypting store that writes under epoch, whether that is current or not.
func storeAt(t testing.TB, client *clientv3.Client, epoch int64) *Store {
	t.Helper()
	s := NewStore(client, prefix, newTransformer(t, "a key for tests"), func() (int64, error) { return epoch, nil })
	s.chunkBytes = smallChunk
	return s
}

func newTransformer(t testing.TB, key string) value.Transformer {
	t.Helper()
	hash := sha256.Sum256([]byte(key))
	block, err := aes.NewCipher(hash[:])
	if err != nil {
		t.Fatal(err)
	}
	transformer, err := aestransformer.NewGCMTransformer(block)
	if err != nil {
		t.Fatal(err)
	}
	return transformer
}

// noise returns size bytes that cannot be compressed, the same for the same seed.
func noise(seed uint64, size int) []byte {
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	out := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(out)
	return out
}

// etcdKeys returns the keys below the installation's prefix that contain part.
func etcdKeys(t testing.TB, client *clientv3.Client, part string) []string {
	t.Helper()
	resp, err := client.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, kv := range resp.Kvs {
		if strings.Contains(string(kv.Key), part) {
			keys = append(keys, string(kv.Key))
		}
	}
	return keys
}

// generations returns the generations of chunks of key.
func generations(t testing.TB, s *Store, key string) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, chunkKey := range etcdKeys(t, s.client, "/records/chunks/") {
		if of, generation, ok := s.layout.parseChunk(chunkKey); ok && of == key {
			found[generation]++
		}
	}
	return found
}

func mustPut(t testing.TB, s *Store, key string, value []byte) {
	t.Helper()
	if err := s.Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

func mustGet(t testing.TB, s *Store, key string) Record {
	t.Helper()
	record, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// listed collects what List yields.
func listed(ctx context.Context, s *Store, keyPrefix string) (map[string]string, error) {
	found := map[string]string{}
	for record, err := range s.List(ctx, keyPrefix) {
		if err != nil {
			return found, err
		}
		found[record.Key] = string(record.Value)
	}
	return found, nil
}
