// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/muster-project/muster/pkg/apis/config"
)

// reports are computed in no order.
func reports(names ...string) []*config.ClusterReport {
	var out []*config.ClusterReport
	for _, name := range names {
		namespace, name, _ := strings.Cut(name, "/")
		out = append(out, &config.ClusterReport{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"first": name[:1]}},
			Spec:       config.ClusterReportSpec{ClusterName: name},
		})
	}
	return out
}

func newView(objects ...*config.ClusterReport) *View[*config.ClusterReport] {
	return NewView(Resource[*config.ClusterReport]{
		Group: config.GroupName, Plural: "clusterreports", Singular: "clusterreport",
		New:     func() *config.ClusterReport { return &config.ClusterReport{} },
		NewList: func() runtime.Object { return &config.ClusterReportList{} },
		Fields:  func(r *config.ClusterReport) fields.Set { return fields.Set{"spec.clusterName": r.Spec.ClusterName} },
	}, func(_ context.Context, namespace string) ([]*config.ClusterReport, error) {
		var out []*config.ClusterReport
		for _, object := range objects {
			if namespace == "" || object.Namespace == namespace {
				out = append(out, object)
			}
		}
		return out, nil
	})
}

// list returns "namespace/name" of what a view lists.
func list(t *testing.T, view *View[*config.ClusterReport], namespace string, options *metainternalversion.ListOptions) ([]string, *config.ClusterReportList) {
	t.Helper()
	obj, err := view.List(request.WithNamespace(t.Context(), namespace), options)
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	reportList := obj.(*config.ClusterReportList)
	var names []string
	for _, item := range reportList.Items {
		names = append(names, item.Namespace+"/"+item.Name)
	}
	return names, reportList
}

func TestViewListsInOrder(t *testing.T) {
	view := newView(reports("b/z", "a/y", "b/a", "a/x")...)
	tests := map[string]struct {
		namespace string
		options   *metainternalversion.ListOptions
		want      []string
	}{
		"all namespaces": {want: []string{"a/x", "a/y", "b/a", "b/z"}},
		"one namespace":  {namespace: "b", want: []string{"b/a", "b/z"}},
		"by label":       {options: &metainternalversion.ListOptions{LabelSelector: labels.SelectorFromSet(labels.Set{"first": "a"})}, want: []string{"b/a"}},
		"by name":        {options: &metainternalversion.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", "y")}, want: []string{"a/y"}},
		"by namespace":   {options: &metainternalversion.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.namespace", "a")}, want: []string{"a/x", "a/y"}},
		"by field":       {options: &metainternalversion.ListOptions{FieldSelector: fields.OneTermNotEqualSelector("spec.clusterName", "z")}, want: []string{"a/x", "a/y", "b/a"}},
		"by everything":  {options: &metainternalversion.ListOptions{LabelSelector: labels.Everything(), FieldSelector: fields.Everything()}, want: []string{"a/x", "a/y", "b/a", "b/z"}},
		"nothing":        {namespace: "c"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, listed := list(t, view, test.namespace, test.options)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("listed (-want +got):\n%s", diff)
			}
			if listed.Items == nil {
				t.Error("items are null, which clients cannot range over")
			}
		})
	}
}

// Pages of any size are together what the whole list is, each object once, also
// where the last object of a page is gone when the next one is asked for.
func TestViewPages(t *testing.T) {
	all := []string{"a/a", "a/b", "b/a", "b/b", "b/c", "c/a", "c/b"}
	for limit := int64(1); limit <= 8; limit++ {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			remaining := reports(all...)
			options := &metainternalversion.ListOptions{Limit: limit}
			var got []string
			for {
				page, listed := list(t, newView(remaining...), "", options)
				got = append(got, page...)
				if listed.Continue == "" {
					break
				}
				if left := int64(len(all) - len(got)); *listed.RemainingItemCount != left {
					t.Errorf("%d are said to remain behind %d, there are %d", *listed.RemainingItemCount, len(got), left)
				}
				options.Continue = listed.Continue
				remaining = reports(all[len(got):]...)
			}
			if diff := cmp.Diff(all, got); diff != "" {
				t.Errorf("listed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestViewRefusesWhatItCannotDo(t *testing.T) {
	view := newView(reports("a/a")...)
	for name, options := range map[string]*metainternalversion.ListOptions{
		"garbage":       {Continue: "%%%"},
		"not JSON":      {Continue: "YWJj"},
		"no name":       {Continue: "e30"},
		"endless":       {Continue: strings.Repeat("a", 5000)},
		"another's":     {Continue: "eyJ2IjoxLCJydiI6MSwic3RhcnQiOiJhIn0"},
		"exact version": {ResourceVersionMatch: metav1.ResourceVersionMatchExact, ResourceVersion: "4"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := view.List(t.Context(), options); !apierrors.IsBadRequest(err) {
				t.Errorf("error is %v, want a bad request", err)
			}
		})
	}
}

func TestViewGet(t *testing.T) {
	view := newView(reports("a/x", "b/y")...)
	got, err := view.Get(request.WithNamespace(t.Context(), "a"), "x", nil)
	if err != nil || got.(*config.ClusterReport).Name != "x" {
		t.Errorf("got %v, %v", got, err)
	}
	_, err = view.Get(request.WithNamespace(t.Context(), "a"), "y", nil)
	if !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), `clusterreports.config.projectsveltos.io "y"`) {
		t.Errorf("error of an object of another namespace is %v", err)
	}
}

func TestViewThatCannotBeComputedIsAnError(t *testing.T) {
	broken := NewView(newView().resource, func(context.Context, string) ([]*config.ClusterReport, error) {
		return nil, errors.New("the store is away")
	})
	_, listErr := broken.List(t.Context(), nil)
	_, getErr := broken.Get(t.Context(), "x", nil)
	for _, err := range []error{listErr, getErr} {
		if !apierrors.IsInternalError(err) || !strings.Contains(err.Error(), "the store is away") {
			t.Errorf("error is %v", err)
		}
	}
}
