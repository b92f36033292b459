// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"net/http"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// servedMapper knows a kind at the version that the cluster served when it was asked last.
type servedMapper struct {
	*staticMapper
	fresh func() *staticMapper
}

func (m *servedMapper) Reset() { m.staticMapper = m.fresh() }

// A version that the cluster does not serve any more answers as if the object were gone.
func TestWithdrawFindsWhatIsServedAtAnotherVersionNow(t *testing.T) {
	mapperOf := func(version string) *staticMapper {
		served := schema.GroupVersion{Group: "example.io", Version: version}
		mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{served})
		mapper.Add(served.WithKind("Widget"), meta.RESTScopeNamespace)
		return &staticMapper{DefaultRESTMapper: mapper}
	}
	for _, behavior := range []Behavior{WithdrawPolicies, LeavePolicies} {
		b := newBench(t)
		b.cluster.Mapper = &servedMapper{mapperOf("v1beta1"), func() *staticMapper { return mapperOf("v1") }}
		b.mustDeploy(Request{Objects: resources(object(t, "apiVersion: example.io/v1beta1\nkind: Widget\nmetadata: {name: w, namespace: apps}\n"))})
		const before, now = "/apis/example.io/v1beta1/namespaces/apps/widgets/w", "/apis/example.io/v1/namespaces/apps/widgets/w"
		b.wire.put(now, b.wire.get(before))
		b.wire.intercept = func(req wireRequest) *apierrors.StatusError {
			if req.Path != before {
				return nil
			}
			return &apierrors.StatusError{ErrStatus: metav1.Status{
				Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound,
				Message: "the server could not find the requested resource", Details: &metav1.StatusDetails{},
			}}
		}
		b.mustWithdraw(web, behavior)
		switch left := b.wire.get(now); {
		case behavior == WithdrawPolicies && left != nil:
			t.Error("it is forgotten, and still there")
		case behavior == LeavePolicies && (left == nil || left.GetAnnotations()[OwnerNameAnnotation] != ""):
			t.Errorf("it is not there without its marks: %v", left)
		}
	}
}
