// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package installation

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/fake"
)

func apiService(name, group string, service *apiregistration.ServiceReference) *apiregistration.APIService {
	return &apiregistration.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name + "-uid")},
		Spec:       apiregistration.APIServiceSpec{Group: group, Service: service},
	}
}

func registrations() []runtime.Object {
	ours := &apiregistration.ServiceReference{Namespace: namespace, Name: "muster"}
	return []runtime.Object{
		apiService("v1.a", "a", ours),
		apiService("v2.a", "a", ours),
		apiService("v1.b", "b", ours),
		apiService("v1.elsewhere", "a", &apiregistration.ServiceReference{Namespace: "other", Name: "muster"}),
		apiService("v1.another", "a", &apiregistration.ServiceReference{Namespace: namespace, Name: "other"}),
		apiService("v1.host", "a", nil),
		apiService("v1.c", "c", ours),
	}
}

func TestUnregisterDeletesOurAPIServicesAlone(t *testing.T) {
	client := fake.NewSimpleClientset(registrations()...)
	if err := Unregister(t.Context(), client, []string{"a", "b"}, namespace, "muster"); err != nil {
		t.Fatal(err)
	}
	list, err := client.ApiregistrationV1().APIServices().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, a := range list.Items {
		left = append(left, a.Name)
	}
	if diff := cmp.Diff([]string{"v1.another", "v1.c", "v1.elsewhere", "v1.host"}, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	for _, action := range client.Actions() {
		if deletion, ok := action.(clienttesting.DeleteActionImpl); ok {
			if uid := deletion.DeleteOptions.Preconditions.UID; uid == nil || *uid != types.UID(deletion.Name+"-uid") {
				t.Errorf("%s is deleted whatever it has become", deletion.Name)
			}
		}
	}
}

func TestUnregisterWithNothingToDo(t *testing.T) {
	if err := Unregister(t.Context(), fake.NewSimpleClientset(), []string{"a"}, namespace, "muster"); err != nil {
		t.Error(err)
	}
}

func TestUnregisterWaitsUntilTheyAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewSimpleClientset(registrations()...)
		client.PrependReactor("delete", "apiservices", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, nil })
		err := Unregister(t.Context(), client, []string{"b"}, namespace, "muster")
		if err == nil || !strings.Contains(err.Error(), "v1.b") || !strings.Contains(err.Error(), "finalizers") {
			t.Errorf("got %v", err)
		}
	})
}

func TestUnregisterSaysWhatFailed(t *testing.T) {
	client := fake.NewSimpleClientset(registrations()...)
	refused := errors.New("refused")
	client.PrependReactor("delete", "apiservices", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, refused })
	if err := Unregister(t.Context(), client, []string{"b"}, namespace, "muster"); !errors.Is(err, refused) || !strings.Contains(err.Error(), "v1.b") {
		t.Errorf("got %v", err)
	}
}
