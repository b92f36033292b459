// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package scheme

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
)

// Serializer is Codecs for our groups: it does not offer protobuf, an encoding
// that our types do not have. Clients that would rather have it, as the host's
// garbage collector and namespace controller would, get JSON this way, and an
// error otherwise.
func Serializer() runtime.NegotiatedSerializer {
	return withoutProtobuf{Codecs}
}

type withoutProtobuf struct {
	runtime.NegotiatedSerializer
}

// SupportedMediaTypes are JSON and YAML.
func (s withoutProtobuf) SupportedMediaTypes() []runtime.SerializerInfo {
	return slices.DeleteFunc(slices.Clone(s.NegotiatedSerializer.SupportedMediaTypes()), func(info runtime.SerializerInfo) bool {
		return info.MediaType == runtime.ContentTypeProtobuf
	})
}
