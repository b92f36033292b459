// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package install adds all versions of group lib.projectsveltos.io to a scheme.
package install

import (
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apis/lib/v1alpha1"
	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// Install adds all versions of the group to the scheme. The first priority is that
// of the version that objects are stored at and that clients find first.
func Install(scheme *runtime.Scheme) {
	utilruntime.Must(lib.AddToScheme(scheme))
	utilruntime.Must(v1beta1.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	utilruntime.Must(scheme.SetVersionPriority(v1beta1.SchemeGroupVersion, v1alpha1.SchemeGroupVersion))
}
