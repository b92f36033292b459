// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

import "k8s.io/apimachinery/pkg/runtime"

func addDefaultingFuncs(scheme *runtime.Scheme) error {
	return RegisterDefaults(scheme)
}

// SetDefaults_Set completes references to clusters: a Set refers to clusters of
// its own namespace alone. An object that is being created may not have its
// namespace yet; it is completed when it is read from storage.
func SetDefaults_Set(obj *Set) {
	for i := range obj.Spec.ClusterRefs {
		if obj.Spec.ClusterRefs[i].Namespace == "" {
			obj.Spec.ClusterRefs[i].Namespace = obj.Namespace
		}
	}
}
