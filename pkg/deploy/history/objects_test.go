// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package history

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

func object(name, value string) Observed {
	return Observed{
		Key:     Key{Kind: ObjectKind(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}), Namespace: "apps", Name: name},
		Content: Content{Data: map[string][]byte{"x": []byte(value)}},
	}
}

// A status that templates see must not drive all else out of a history that is bounded.
func TestObjectsForTemplatesMakeNoRevisions(t *testing.T) {
	b := newBench(t, 10)
	b.begin("s1")
	old := b.reads("s1", object("o", "0"))
	b.deployed(one, b.reads("s1", configMap("a", "1"), object("o", "1")))
	b.deployed(one, b.reads("s1", configMap("a", "1"), object("o", "2")))
	b.want("1 s1 Spec a=1 o=2", "one 1:Deployed")
	b.deployed(two, old) // which was read before
	b.want("1 s1 Spec a=1 o=2", "one 1:Deployed", "two 1:Deployed")
	b.deployed(one, b.reads("s1", configMap("a", "2"), object("o", "3")))
	b.want("1 s1 Spec a=1 o=2", "2 s1 Contents a=2 o=3", "one 1:Deployed 2:Deployed", "two 1:Deployed")
	b.begin("s2")
	b.deployed(two, b.reads("s1", configMap("a", "2"), object("o", "4"))) // it waits for its turn
	b.deployed(one, b.reads("s2", object("o", "5")))
	b.want("1 s1 Spec a=1 o=2", "2 s1 Contents a=2 o=4", "3 s2 Spec o=5", "one 1:Deployed 2:Deployed 3:Deployed", "two 1:Deployed 2:Deployed")
	if kind := ObjectKind(schema.GroupVersionKind{Version: "v1", Kind: "Secret"}); !isSecret(kind) {
		t.Errorf("a Secret is kept as %q", kind)
	}
}
