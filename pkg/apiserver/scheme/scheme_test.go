// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package scheme

import (
	"net/url"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/v1alpha1"
	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// One codec stores both groups, each at its own version.
func TestBothGroupsAreStoredAtV1beta1(t *testing.T) {
	for want, object := range map[string]runtime.Object{
		`"apiVersion":"lib.projectsveltos.io/v1beta1"`:    &lib.ClusterSet{},
		`"apiVersion":"config.projectsveltos.io/v1beta1"`: &config.ClusterProfile{},
	} {
		encoded, err := runtime.Encode(StorageCodec(), object)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(encoded), want) {
			t.Errorf("%T is stored as %s", object, encoded)
		}
		kinds, _, err := Scheme.ObjectKinds(object)
		if err != nil {
			t.Fatal(err)
		}
		kind, ok := StorageVersions.KindForGroupVersionKinds(kinds)
		if !ok || !strings.Contains(want, kind.GroupVersion().String()) {
			t.Errorf("%T is said to be stored at %s", object, kind)
		}
	}
}

// During an upgrade an older replica reads what a newer one has written.
func TestUnknownFieldsCanBeRead(t *testing.T) {
	stored := `{"apiVersion":"lib.projectsveltos.io/v1beta1","kind":"ClusterSet","metadata":{"name":"s"},"spec":{"maxReplicas":2,"invented":{"later":true}}}`
	got, err := runtime.Decode(StorageCodec(), []byte(stored))
	if err != nil {
		t.Fatal(err)
	}
	if set, ok := got.(*lib.ClusterSet); !ok || set.Spec.MaxReplicas != 2 {
		t.Errorf("read as %#v", got)
	}
}

func TestParametersOfSelectionsAreRead(t *testing.T) {
	query := url.Values{"limit": {"7"}, "continue": {"token"}, "reason": {"Standby"}, "resourceVersion": {"0"}}
	for _, version := range []runtime.Object{&v1beta1.SelectionOptions{}, &v1alpha1.SelectionOptions{}} {
		kinds, _, err := Scheme.ObjectKinds(version)
		if err != nil {
			t.Fatal(err)
		}
		got := &lib.SelectionOptions{}
		if err := ParameterCodec.DecodeParameters(query, kinds[0].GroupVersion(), got); err != nil {
			t.Fatalf("%s: %v", kinds[0], err)
		}
		want := lib.SelectionOptions{Limit: 7, Continue: "token", Reason: "Standby", ResourceVersion: "0"}
		if *got != want {
			t.Errorf("%s: read as %+v", kinds[0], got)
		}
	}
}

func TestOptionsOfEveryRequestAreKnown(t *testing.T) {
	got := &metav1.DeleteOptions{}
	if err := ParameterCodec.DecodeParameters(url.Values{"dryRun": {"All"}}, schema.GroupVersion{Version: "v1"}, got); err != nil || len(got.DryRun) != 1 {
		t.Errorf("read as %v: %v", got, err)
	}
	if unversioned, _ := Scheme.IsUnversioned(&metav1.Status{}); !unversioned {
		t.Error("a Status would be converted")
	}
}

func TestV1beta1IsFoundFirst(t *testing.T) {
	for _, group := range []string{lib.GroupName, config.GroupName} {
		versions := Scheme.PrioritizedVersionsForGroup(group)
		if len(versions) != 2 || versions[0].Version != "v1beta1" || versions[1].Version != "v1alpha1" {
			t.Errorf("versions of %s are %v", group, versions)
		}
	}
}

func TestProtobufIsNotOffered(t *testing.T) {
	offered := map[string]bool{}
	for _, info := range Serializer().SupportedMediaTypes() {
		offered[info.MediaType] = true
	}
	if offered[runtime.ContentTypeProtobuf] || !offered[runtime.ContentTypeJSON] || !offered[runtime.ContentTypeYAML] {
		t.Errorf("offered are %v", offered)
	}
	// The list that was filtered is everybody's.
	if _, ok := runtime.SerializerInfoForMediaType(Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf); !ok {
		t.Error("the shared list has lost protobuf, which discovery uses")
	}
}
