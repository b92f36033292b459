// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package records

import (
	"bytes"
	"errors"
	"maps"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"
)

func TestValuesOfAllSizesComeBack(t *testing.T) {
	s := newTerm(t, newClient(t))
	for name, tc := range map[string]struct {
		value  []byte
		chunks int
	}{
		"empty":                   {nil, 0},
		"small":                   {[]byte("inventory"), 0},
		"large, compressible":     {bytes.Repeat([]byte("inventory"), 10_000), 0},
		"of a chunk":              {noise(1, smallChunk-100), 0},
		"of some chunks":          {noise(2, 10*smallChunk-100), 10},
		"of many chunks":          {noise(3, 150*smallChunk-100), 150},
		"of a chunk and one byte": {noise(4, 2*smallChunk), 3},
	} {
		t.Run(name, func(t *testing.T) {
			key := "inventory/" + strings.ReplaceAll(name, " ", "-")
			mustPut(t, s, key, tc.value)
			if got := mustGet(t, s, key); got.Key != key || !bytes.Equal(got.Value, tc.value) {
				t.Errorf("got %d bytes under %q, want the %d written", len(got.Value), got.Key, len(tc.value))
			}
			var chunks int
			for _, n := range generations(t, s, key) {
				chunks += n
			}
			if chunks != tc.chunks {
				t.Errorf("%d chunks in etcd, want %d", chunks, tc.chunks)
			}
		})
	}
}

// TestRealChunksFitEtcd uses the chunk size of production against a server that has etcd's default
// limit for requests.
func TestRealChunksFitEtcd(t *testing.T) {
	s := newTerm(t, newClient(t))
	s.chunkBytes = maxChunkBytes
	value := noise(1, 5<<20)
	mustPut(t, s, "large", value)
	if got := mustGet(t, s, "large"); !bytes.Equal(got.Value, value) {
		t.Error("5 MiB did not come back as they were")
	}
	const etcdDefault = 3 << 19 // 1.5 MiB
	resp, err := s.client.Get(t.Context(), prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		if len(kv.Key)+len(kv.Value) > etcdDefault-64<<10 {
			t.Errorf("%s has %d bytes, too near to etcd's limit", kv.Key, len(kv.Value))
		}
	}
}

func TestTooLargeIsRefused(t *testing.T) {
	s := newTerm(t, newClient(t))
	if err := s.Put(t.Context(), "k", make([]byte, MaxValueBytes+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
	mustPut(t, s, "k", make([]byte, MaxValueBytes))
	if got := len(mustGet(t, s, "k").Value); got != MaxValueBytes {
		t.Errorf("%d bytes came back of the largest value", got)
	}
}

func TestPreconditions(t *testing.T) {
	ctx := t.Context()
	s := newTerm(t, newClient(t))
	if _, err := s.Get(ctx, "k"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get of nothing: %v, want ErrNotFound", err)
	}
	if _, err := s.Update(ctx, "k", []byte("x"), 1); !errors.Is(err, ErrConflict) {
		t.Errorf("Update of nothing: %v, want ErrConflict", err)
	}
	if _, err := s.Update(ctx, "k", []byte("x"), 0); !errors.Is(err, ErrConflict) {
		t.Errorf("Update of what was never read: %v, want ErrConflict", err)
	}
	if err := s.Delete(ctx, "k"); err != nil {
		t.Errorf("Delete of nothing: %v, want no error", err)
	}
	if err := s.DeleteAt(ctx, "k", 1); !errors.Is(err, ErrConflict) {
		t.Errorf("DeleteAt of nothing: %v, want ErrConflict", err)
	}

	first, err := s.Create(ctx, "k", []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	if got := mustGet(t, s, "k"); got.Revision != first || string(got.Value) != "1" {
		t.Errorf("got %q at %d, want what was created at %d", got.Value, got.Revision, first)
	}
	if _, err := s.Create(ctx, "k", []byte("x")); !errors.Is(err, ErrExists) {
		t.Errorf("Create of what exists: %v, want ErrExists", err)
	}
	second, err := s.Update(ctx, "k", []byte("2"), first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update(ctx, "k", []byte("x"), first); !errors.Is(err, ErrConflict) {
		t.Errorf("Update of an old revision: %v, want ErrConflict", err)
	}
	if err := s.DeleteAt(ctx, "k", first); !errors.Is(err, ErrConflict) {
		t.Errorf("DeleteAt an old revision: %v, want ErrConflict", err)
	}
	if got := mustGet(t, s, "k"); got.Revision != second || string(got.Value) != "2" {
		t.Errorf("got %q at %d, want 2 at %d: a refused write left a trace", got.Value, got.Revision, second)
	}
	if err := s.DeleteAt(ctx, "k", second); err != nil {
		t.Fatal(err)
	}
	if left := etcdKeys(t, s.client, "/records/"); len(left) > 0 {
		t.Errorf("left in etcd: %v", left)
	}
}

func TestKeysThatAreNoCleanPathsAreRefused(t *testing.T) {
	ctx := t.Context()
	s := newTerm(t, newClient(t))
	for _, key := range []string{"", "/", "/k", "k/", "a//b", ".", "..", "../k", "a/../b", "a/./b", strings.Repeat("k", MaxKeyBytes+1)} {
		_, getErr := s.Get(ctx, key)
		_, createErr := s.Create(ctx, key, nil)
		_, updateErr := s.Update(ctx, key, nil, 1)
		for operation, err := range map[string]error{
			"Get": getErr, "Create": createErr, "Update": updateErr,
			"Put": s.Put(ctx, key, nil), "Delete": s.Delete(ctx, key), "DeleteAt": s.DeleteAt(ctx, key, 1),
		} {
			if !errors.Is(err, ErrInvalidKey) {
				t.Errorf("%s %q: %v, want ErrInvalidKey", operation, key, err)
			}
		}
	}
	mustPut(t, s, strings.Repeat("k/", MaxKeyBytes/2-1)+"kk", noise(1, 2*smallChunk))
}

func TestNothingReadableIsInEtcd(t *testing.T) {
	client := newClient(t)
	s := newTerm(t, client)
	canary := "canary-secret-value"
	mustPut(t, s, "small", []byte(canary))
	large := append([]byte(canary), noise(1, 5*smallChunk)...)
	mustPut(t, s, "large", large)
	resp, err := client.Get(t.Context(), prefix+"/records", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		if bytes.Contains(kv.Value, []byte("canary")) || bytes.Contains(kv.Value, []byte("generation")) {
			t.Errorf("%s is readable", kv.Key)
		}
	}
}

func TestAValueIsUnreadableElsewhere(t *testing.T) {
	ctx := t.Context()
	client := newClient(t)
	s := newTerm(t, client)
	mustPut(t, s, "mine", []byte("mine"))
	mustPut(t, s, "theirs", []byte("theirs"))
	mustPut(t, s, "large", noise(1, 3*smallChunk))
	copyKey := func(from, to string) {
		t.Helper()
		resp, err := client.Get(ctx, from)
		if err != nil || len(resp.Kvs) == 0 {
			t.Fatal(from, err)
		}
		if _, err := client.Put(ctx, to, string(resp.Kvs[0].Value)); err != nil {
			t.Fatal(err)
		}
	}
	copyKey(s.layout.head("theirs"), s.layout.head("mine"))
	for generation := range generations(t, s, "large") {
		copyKey(s.layout.chunk("large", generation, 0), s.layout.chunk("large", generation, 1))
	}
	for _, key := range []string{"mine", "large"} {
		if record, err := s.Get(ctx, key); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %d bytes, %v, want ErrUnreadable", key, len(record.Value), err)
		}
	}
}

func TestDamageIsNoticed(t *testing.T) {
	ctx := t.Context()
	client := newClient(t)
	// Without encryption, which would notice by itself.
	plain := newTerm(t, client)
	plain.transformer = nil
	value := noise(1, 3*smallChunk)
	for name, damage := range map[string]func(key, generation string) clientv3.Op{
		"empty head":      func(key, _ string) clientv3.Op { return clientv3.OpPut(plain.layout.head(key), "") },
		"unknown kind":    func(key, _ string) clientv3.Op { return clientv3.OpPut(plain.layout.head(key), "\x09x") },
		"no zstd":         func(key, _ string) clientv3.Op { return clientv3.OpPut(plain.layout.head(key), "\x01x") },
		"no JSON":         func(key, _ string) clientv3.Op { return clientv3.OpPut(plain.layout.head(key), "\x02{") },
		"empty manifest":  func(key, _ string) clientv3.Op { return clientv3.OpPut(plain.layout.head(key), "\x02{}") },
		"a chunk is gone": func(key, g string) clientv3.Op { return clientv3.OpDelete(plain.layout.chunk(key, g, 1)) },
		"a chunk is cut":  func(key, g string) clientv3.Op { return clientv3.OpPut(plain.layout.chunk(key, g, 1), "x") },
	} {
		t.Run(name, func(t *testing.T) {
			key := strings.ReplaceAll(name, " ", "-")
			mustPut(t, plain, key, value)
			for generation := range generations(t, plain, key) {
				if _, err := client.Do(ctx, damage(key, generation)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := plain.Get(ctx, key); !errors.Is(err, ErrUnreadable) {
				t.Errorf("error %v, want ErrUnreadable", err)
			}
			mustPut(t, plain, key, []byte("new")) // a damaged record can be replaced
			if got := mustGet(t, plain, key); string(got.Value) != "new" {
				t.Errorf("got %q after it was replaced", got.Value)
			}
		})
	}
}

// TestStoreBehavesAsAMap compares the store with a map under random operations.
func TestStoreBehavesAsAMap(t *testing.T) {
	client := newClient(t)
	s := newTerm(t, client)
	ctx := t.Context()
	keys := []string{"a", "a/b", "a/b/c", "ab", "inventory/ns/name"}
	rapid.Check(t, func(t *rapid.T) {
		if _, err := client.Delete(ctx, prefix+"/records", clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
		model := map[string]string{}
		revisions := map[string]int64{}
		check := func(err, want error) bool {
			t.Helper()
			if !errors.Is(err, want) {
				t.Fatalf("error %v, want %v", err, want)
			}
			return err == nil
		}
		exists := func(key string, otherwise error) error {
			if _, ok := model[key]; ok {
				return nil
			}
			return otherwise
		}
		key := rapid.SampledFrom(keys)
		value := rapid.Custom(func(t *rapid.T) string {
			return string(noise(rapid.Uint64Range(0, 1000).Draw(t, "seed"), rapid.IntRange(0, 4*smallChunk).Draw(t, "size")))
		})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), value.Draw(t, "value")
				if check(s.Put(ctx, k, []byte(v)), nil) {
					model[k] = v
					delete(revisions, k)
				}
			},
			"create": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), value.Draw(t, "value")
				want := ErrExists
				if exists(k, ErrNotFound) != nil {
					want = nil
				}
				revision, err := s.Create(ctx, k, []byte(v))
				if check(err, want) {
					model[k], revisions[k] = v, revision
				}
			},
			"update": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), value.Draw(t, "value")
				want := exists(k, ErrConflict)
				if _, known := revisions[k]; !known {
					want = ErrConflict
				}
				revision, err := s.Update(ctx, k, []byte(v), revisions[k])
				if check(err, want) {
					model[k], revisions[k] = v, revision
				}
			},
			"delete": func(t *rapid.T) {
				k := key.Draw(t, "key")
				check(s.Delete(ctx, k), nil)
				delete(model, k)
				delete(revisions, k)
			},
			"get": func(t *rapid.T) {
				k := key.Draw(t, "key")
				record, err := s.Get(ctx, k)
				if check(err, exists(k, ErrNotFound)) {
					if string(record.Value) != model[k] {
						t.Fatalf("%s has another value than the model", k)
					}
					revisions[k] = record.Revision
				}
			},
			"": func(t *rapid.T) {
				got, err := listed(ctx, s, "")
				if check(err, nil) && !maps.Equal(got, model) {
					t.Fatalf("the store has %d records that are not the model's %d", len(got), len(model))
				}
			},
		})
		// One generation for each record that needs one, and no other.
		for _, k := range keys {
			want := 0
			if len(model[k]) > 2*smallChunk {
				want = 1
			}
			resp, err := client.Get(ctx, s.layout.chunks(), clientv3.WithPrefix(), clientv3.WithKeysOnly())
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]bool{}
			for _, kv := range resp.Kvs {
				if of, generation, _ := s.layout.parseChunk(string(kv.Key)); of == k {
					found[generation] = true
				}
			}
			if len(found) > 1 || len(found) < want {
				t.Fatalf("%s has %d generations of chunks, want %d", k, len(found), want)
			}
		}
	})
}
