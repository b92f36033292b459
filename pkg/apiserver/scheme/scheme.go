// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package scheme knows every kind that the server serves: how kinds are
// converted between versions, read from requests, and written to storage.
package scheme

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	configinstall "github.com/muster-project/muster/pkg/apis/config/install"
	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libinstall "github.com/muster-project/muster/pkg/apis/lib/install"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

var (
	// Scheme holds the types of both groups, in all versions.
	Scheme = newScheme()
	// Codecs read and write them.
	Codecs = serializer.NewCodecFactory(Scheme)
	// ParameterCodec reads query parameters, those of our own subresources
	// among them, which the one of meta/v1 does not know.
	ParameterCodec = runtime.NewParameterCodec(Scheme)
	// StorageVersions are the versions that objects are stored at. Given a kind
	// of a group, the group's one applies.
	StorageVersions = schema.GroupVersions{libv1beta1.SchemeGroupVersion, configv1beta1.SchemeGroupVersion}
)

// StorageCodec returns the codec of what is stored. It is not strict: a field
// that a newer replica has written must not make an object unreadable while
// replicas of both versions run.
func StorageCodec() runtime.Codec {
	return Codecs.LegacyCodec(StorageVersions...)
}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	libinstall.Install(scheme)
	configinstall.Install(scheme)

	// Options of requests are looked up in this version of no group.
	unversioned := schema.GroupVersion{Version: "v1"}
	metav1.AddToGroupVersion(scheme, unversioned)
	scheme.AddUnversionedTypes(unversioned,
		&metav1.Status{},
		&metav1.APIVersions{},
		&metav1.APIGroupList{},
		&metav1.APIGroup{},
		&metav1.APIResourceList{},
	)
	return scheme
}
