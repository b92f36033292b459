// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/hostobjects"
	"github.com/muster-project/muster/pkg/deploy/history"
)

// objectBlob is the name of the one blob that the history keeps of an object that templates
// see. One that did not exist has none.
const objectBlob = "object.json"

// observedAnswer is an object that templates see, or why there is none.
type observedAnswer struct {
	hostobjects.Answer
	// read is when it was read, zero for what the revision has pinned.
	read time.Time
}

// readObjects reads what templates see, or gives what the revision has pinned of it.
func (b *requestBuilder) readObjects(ctx context.Context, wants []hostobjects.Want) []observedAnswer {
	answers := make([]observedAnswer, len(wants))
	var live []hostobjects.Want
	var places []int
	for i, want := range wants {
		kept, restored, err := b.observed.restore(ctx, history.ObjectKind(want.Kind), want.Namespace, want.Name)
		if restored {
			answers[i].Answer = restoredObject(want, kept, err)
			continue
		}
		live, places = append(live, want), append(places, i)
	}
	began := b.observed.began()
	// Also if there is none: what was read before is not of interest any more.
	for i, answer := range b.hostObjects.Read(ctx, b.reader, live) {
		answers[places[i]] = observedAnswer{Answer: answer, read: began}
	}
	return answers
}

// restoredObject is an object as the history has kept it.
func restoredObject(want hostobjects.Want, kept history.Content, err error) hostobjects.Answer {
	if err != nil {
		return hostobjects.Answer{Err: err}
	}
	if len(kept.Blobs) == 0 {
		return hostobjects.Answer{Err: &hostobjects.Error{Want: want, Err: apierrors.NewNotFound(schema.GroupResource{Group: want.Kind.Group, Resource: want.Kind.Kind}, want.Name)}}
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(kept.Blobs[0].Data); err != nil {
		return hostobjects.Answer{Err: &hostobjects.Error{Want: want, Err: fmt.Errorf("decoding what the history has kept of it: %w", err)}}
	}
	return hostobjects.Answer{Object: object}
}

// noteObject remembers what templates were given of the host. Its error says that a Secret is
// not what it was in the revision that is deployed again.
func (b *requestBuilder) noteObject(want hostobjects.Want, answer observedAnswer) error {
	kind := history.ObjectKind(want.Kind)
	if b.observed == nil || answer.read.IsZero() || answer.Object == nil && kind == configv1beta1.SourceKindSecret {
		return nil
	}
	content, err := contentOfObject(kind, answer.Object)
	if err != nil {
		return &hostobjects.Error{Want: want, Err: err}
	}
	return b.observed.note(kind, want.Namespace, want.Name, content, answer.read)
}

// contentOfObject is what the history keeps of an object, or compares of a Secret: all of it
// but for the version that it has in its store, which is another one whenever it is written.
func contentOfObject(kind string, object *unstructured.Unstructured) (history.Content, error) {
	if object == nil {
		return history.Content{}, nil
	}
	if kind == configv1beta1.SourceKindSecret {
		return contentOfSecret(object), nil
	}
	versionless := object.DeepCopy()
	versionless.SetResourceVersion("")
	encoded, err := versionless.MarshalJSON()
	if err != nil {
		return history.Content{}, fmt.Errorf("encoding it for the history: %w", err)
	}
	return history.Content{Blobs: []history.Blob{{Name: objectBlob, Data: encoded}}}, nil
}

// contentOfSecret is that of a Secret which is read as a source.
func contentOfSecret(secret *unstructured.Unstructured) history.Content {
	content := history.Content{Annotations: history.Meaningful(secret.GetAnnotations())}
	content.Type, _, _ = unstructured.NestedString(secret.Object, "type")
	data, _, _ := unstructured.NestedStringMap(secret.Object, "data")
	for key, encoded := range data {
		// What the API server serves is encoded well.
		value, _ := base64.StdEncoding.DecodeString(encoded)
		if content.Data == nil {
			content.Data = map[string][]byte{}
		}
		content.Data[key] = value
	}
	return content
}
