// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"crypto/sha256"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-project/muster/pkg/render/memo"
)

// Parsed remembers the objects that texts were parsed to: a source is the same for many
// clusters, and mostly what it was when it was looked at last. It is safe for concurrent
// use.
type Parsed struct {
	objects *memo.Cache[textKey, []*unstructured.Unstructured]
}

// textKey is of texts and the keys that they were under.
type textKey [sha256.Size]byte

// NewParsed returns a Parsed for objects with so many bytes as JSON; in memory they have
// several times as many.
func NewParsed(limit int64) *Parsed {
	return &Parsed{objects: memo.NewCache[textKey, []*unstructured.Unstructured](limit)}
}

// keyed is what a source has under a key, rendered.
type keyed struct {
	key  string
	text []byte
}

// keyOf tells texts apart. Each part has its length before it, or two could pass for others.
func keyOf(texts []keyed) (key textKey) {
	sum := sha256.New()
	for _, t := range texts {
		_, _ = fmt.Fprintf(sum, "%d:%s%d:", len(t.key), t.key, len(t.text)) // a hash takes everything
		_, _ = sum.Write(t.text)
	}
	sum.Sum(key[:0])
	return key
}

// recall returns what is known of texts. The objects are the caller's own.
func (p *Parsed) recall(key textKey) ([]*unstructured.Unstructured, bool) {
	if p == nil {
		return nil, false
	}
	objects, known := p.objects.Get(key)
	return copies(objects), known
}

// keep remembers what texts were parsed to, size bytes as JSON.
func (p *Parsed) keep(key textKey, objects []*unstructured.Unstructured, size int) {
	if p != nil {
		p.objects.Put(key, copies(objects), int64(size))
	}
}

func copies(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	out := make([]*unstructured.Unstructured, len(objects))
	for i, object := range objects {
		out[i] = object.DeepCopy()
	}
	return out
}
