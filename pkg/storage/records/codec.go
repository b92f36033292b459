// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package records

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"k8s.io/apiserver/pkg/storage/value"
)

const (
	// maxChunkBytes is how much of a value one etcd key holds. etcd's default limit for a request
	// is 1.5 MiB, which leaves room for the key, the conditions and what encryption adds.
	maxChunkBytes = 1 << 20
	// MaxValueBytes is the largest value that a record can have.
	MaxValueBytes = 64 << 20
)

var (
	// ErrTooLarge says that a value is larger than MaxValueBytes.
	ErrTooLarge = errors.New("record is too large")
	// ErrUnreadable says that what etcd holds is not a record that this process can read: it is
	// damaged, or encrypted with a key that is not configured.
	ErrUnreadable = errors.New("record is unreadable")
)

// The first byte of a head, before encryption, is its kind.
const (
	inlineHead  byte = 1 // the compressed value follows
	chunkedHead byte = 2 // a manifest follows, as JSON
)

// manifest is the head of a record whose value is in chunks.
type manifest struct {
	// Generation names the chunks of one write.
	Generation string `json:"generation"`
	// Chunks is their number.
	Chunks int `json:"chunks"`
}

// head is a decoded head: either a compressed value or a manifest.
type head struct {
	inline  []byte
	chunked *manifest
}

func (h head) encode() ([]byte, error) {
	if h.chunked == nil {
		return append([]byte{inlineHead}, h.inline...), nil
	}
	body, err := json.Marshal(h.chunked)
	return append([]byte{chunkedHead}, body...), err
}

func decodeHead(raw []byte) (head, error) {
	if len(raw) == 0 {
		return head{}, fmt.Errorf("%w: its head is empty", ErrUnreadable)
	}
	switch kind, body := raw[0], raw[1:]; kind {
	case inlineHead:
		return head{inline: body}, nil
	case chunkedHead:
		var m manifest
		if err := json.Unmarshal(body, &m); err != nil || m.Chunks < 1 || m.Generation == "" {
			return head{}, fmt.Errorf("%w: its manifest is damaged", ErrUnreadable)
		}
		return head{chunked: &m}, nil
	default:
		return head{}, fmt.Errorf("%w: its head is of unknown kind %d", ErrUnreadable, kind)
	}
}

// compressor compresses and decompresses whole values. It is safe for concurrent use and starts no
// goroutines.
type compressor struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

func newCompressor() compressor {
	// Values are small and many are written at once: one goroutine each, and little memory.
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20))
	if err != nil {
		panic(fmt.Sprintf("zstd encoder: %v", err)) // the options above are constants
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(MaxValueBytes))
	if err != nil {
		panic(fmt.Sprintf("zstd decoder: %v", err))
	}
	return compressor{encoder: encoder, decoder: decoder}
}

func (c compressor) compress(value []byte) []byte { return c.encoder.EncodeAll(value, nil) }

func (c compressor) decompress(compressed []byte) ([]byte, error) {
	value, err := c.decoder.DecodeAll(compressed, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: decompress: %w", ErrUnreadable, err)
	}
	return value, nil
}

// seal encrypts what goes under an etcd key. The key is authenticated with it, so that a value is
// unreadable under any other.
func (s *Store) seal(ctx context.Context, etcdKey string, plain []byte) (string, error) {
	if s.transformer == nil {
		return string(plain), nil
	}
	sealed, err := s.transformer.TransformToStorage(ctx, plain, value.DefaultContext(etcdKey))
	if err != nil {
		return "", fmt.Errorf("encrypt: %w", err)
	}
	return string(sealed), nil
}

// open decrypts what is under an etcd key.
func (s *Store) open(ctx context.Context, etcdKey string, sealed []byte) ([]byte, error) {
	if s.transformer == nil {
		return sealed, nil
	}
	plain, _, err := s.transformer.TransformFromStorage(ctx, sealed, value.DefaultContext(etcdKey))
	if err != nil {
		return nil, fmt.Errorf("%w: decrypt: %w", ErrUnreadable, err)
	}
	return plain, nil
}
