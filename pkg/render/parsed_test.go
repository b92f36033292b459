// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/muster-project/muster/pkg/script"
)

const parsedText = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: apps}\ndata: {value: one}\n"

func parsedSource(kind, text string) Source {
	source := Source{Kind: kind, Namespace: "civo", Name: "manifests", Data: map[string][]byte{"a.yaml": []byte(text)}}
	if kind == "Secret" {
		source.Type = SecretType
	}
	return source
}

func TestObjectsAreTheCallersOwn(t *testing.T) {
	r := &Renderer{Parsed: NewParsed(1 << 20)}
	var before map[string]any
	for range 3 {
		objects, err := r.Objects(t.Context(), parsedSource("ConfigMap", parsedText), nil)
		if err != nil {
			t.Fatal(err)
		}
		if before == nil {
			before = objects[0].DeepCopy().Object
		} else if !reflect.DeepEqual(objects[0].Object, before) {
			t.Fatalf("what a caller did to an object shows in the next one's: %v", objects[0].Object)
		}
		objects[0].SetNamespace("elsewhere")
		objects[0].Object["data"].(map[string]any)["value"] = "two"
	}
}

func TestOnlyTheSameTextsAreKnown(t *testing.T) {
	r := &Renderer{Parsed: NewParsed(1 << 20)}
	known := func() int64 { return r.Parsed.objects.Size() }
	render := func(source Source) error {
		_, err := r.Objects(t.Context(), source, nil)
		return err
	}
	if err := render(parsedSource("ConfigMap", parsedText)); err != nil || known() == 0 {
		t.Fatalf("%d bytes are known, %v", known(), err)
	}
	size := known()
	if err := render(parsedSource("ConfigMap", parsedText+"# a remark\n")); err != nil || known() != 2*size {
		t.Errorf("%d bytes are known of two texts of %d each, %v", known(), size, err)
	}
	other := parsedSource("ConfigMap", parsedText)
	other.Data = map[string][]byte{"b.yaml": []byte(parsedText)}
	if err := render(other); err != nil || known() != 3*size {
		t.Errorf("a text under another key passed for a known one: %d bytes, %v", known(), err)
	}
	for _, source := range []Source{parsedSource("Secret", parsedText+"# secret\n"), {Kind: "ConfigMap", Private: true, Data: map[string][]byte{"a": []byte(parsedText)}}} {
		if err := render(source); err != nil || known() != 3*size {
			t.Errorf("what a Secret holds is remembered: %d bytes, %v", known(), err)
		}
	}
	for range 2 {
		if err := render(parsedSource("ConfigMap", parsedText+"---\n"+parsedText)); err == nil {
			t.Error("an object that is there twice was taken")
		}
	}
}

func TestTheFirstKeyThatIsWrongIsNamed(t *testing.T) {
	source := parsedSource("ConfigMap", "no: object\n")
	source.Annotations = map[string]string{AnnotationTemplate: ""}
	source.Data["b.yaml"] = []byte("{{ broken }}")
	source.Data["c.yaml"] = []byte(parsedText)
	r := &Renderer{Templates: asTheyAre{"{{ broken }}": errors.New("no such function")}, Parsed: NewParsed(1 << 20)}
	for _, key := range []string{"a.yaml", "b.yaml"} {
		_, err := r.Objects(t.Context(), source, nil)
		var of *SourceError
		if !errors.As(err, &of) || of.Key != key {
			t.Fatalf("the error is %v, want one about key %q", err, key)
		}
		delete(source.Data, key)
	}
	if objects, err := r.Objects(t.Context(), source, nil); err != nil || len(objects) != 1 {
		t.Errorf("what is left has %d objects, %v", len(objects), err)
	}
}

// asTheyAre are templates that make what they are, but for those that fail.
type asTheyAre map[string]error

func (a asTheyAre) RenderTemplate(_ context.Context, t script.Template) (string, error) {
	return t.Text, a[t.Text]
}
