// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/deploy/history"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/render/archive"
	"github.com/muster-project/muster/pkg/render/remote"
)

// kindURL is the kind of a source that is a URL, where the kind of an object stands
// otherwise.
const kindURL = history.KindURL

// The keys of a Secret with credentials for a URL.
const (
	tokenKey    = "token"
	usernameKey = "username"
	passwordKey = "password"
	caKey       = "caFile"
)

// remoteContent is what was fetched from a URL, and the source that errors name.
type remoteContent struct {
	remote.Content
	source render.Source
}

// broken says what is wrong with a part of it.
func (c remoteContent) broken(key string, err error) error {
	if c.source.Private {
		err = render.WithoutContent(err)
	}
	return &render.SourceError{Kind: c.source.Kind, Name: c.source.Name, Key: key, Err: err}
}

// remote fetches what a URL names, nil if that is optional and missing.
func (b *requestBuilder) remote(ctx context.Context, from configv1beta1.RemoteURL, optional bool) (*remoteContent, error) {
	source := remote.Source{URL: from.URL, InsecureSkipTLSVerify: from.InsecureSkipTLSVerify, PlainHTTP: from.PlainHTTP}
	if from.Interval != nil {
		source.Interval = from.Interval.Duration
	}
	if from.SecretRef != nil && !b.observed.has(kindURL, "", remote.RedactURL(from.URL)) {
		var err error
		if source.Credentials, err = b.credentials(ctx, *from.SecretRef); err != nil {
			return nil, fmt.Errorf("remoteURL.secretRef: %w", err)
		}
	}
	content, err := b.fetchURL(ctx, source)
	var failed *remote.Error
	if optional && errors.As(err, &failed) && failed.Reason == remote.NotFound {
		b.dueAt(b.now().Add(remote.DefaultInterval))
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !content.Due.IsZero() {
		b.dueAt(content.Due)
	}
	// What is not given to everybody is not for everybody who reads a status.
	out := &remoteContent{Content: content, source: render.Source{Kind: kindURL, Name: remote.RedactURL(from.URL), Private: from.SecretRef != nil}}
	if from.Template {
		out.source.Annotations = map[string]string{render.AnnotationTemplate: ""}
	}
	return out, nil
}

// credentials reads a Secret with credentials. It has to have the type that says that it
// is for profiles: whoever writes a profile chooses the server, and any other Secret of
// the namespace could be sent there.
func (b *requestBuilder) credentials(ctx context.Context, ref libv1beta1.SecretReference) (remote.Credentials, error) {
	name := types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}
	if name.Namespace == "" {
		name.Namespace = b.namespace
	}
	if err := b.mayRead(name.Namespace); err != nil {
		return remote.Credentials{}, err
	}
	secret, err := b.read(ctx, configv1beta1.SourceKindSecret, name)
	if err != nil {
		return remote.Credentials{}, err
	}
	if err := secret.Check(); err != nil {
		return remote.Credentials{}, &render.SourceError{Kind: secret.Kind, Namespace: name.Namespace, Name: name.Name, Err: err}
	}
	return remote.Credentials{
		Token: string(secret.Data[tokenKey]), Username: string(secret.Data[usernameKey]), Password: string(secret.Data[passwordKey]),
		CA: secret.Data[caKey],
	}, nil
}

// dueAt notes that a source has to be fetched again.
func (b *requestBuilder) dueAt(at time.Time) {
	if b.due.IsZero() || at.Before(b.due) {
		b.due = at
	}
}

// manifests are the files of a URL with manifests: what it serves, or those in an archive
// whose names say that they are YAML or JSON.
func (c remoteContent) manifests() (render.Source, error) {
	out := c.source
	out.Data = map[string][]byte{}
	for i, blob := range c.Blobs {
		prefix := ""
		if len(c.Blobs) > 1 {
			prefix = fmt.Sprintf("%03d/", i+1) // layers are applied in their order
		}
		data := blob.Data
		var err error
		if archive.IsGzip(data) {
			if data, err = archive.Gunzip(data); err != nil {
				return out, c.broken(blob.Name, err)
			}
		}
		if !archive.IsTar(data) {
			out.Data[prefix+blob.Name] = data
			continue
		}
		files, err := archive.Untar(data)
		if err != nil {
			return out, c.broken(blob.Name, err)
		}
		for name, content := range files {
			if isManifest(name) {
				out.Data[prefix+name] = content
			}
		}
	}
	return out, nil
}

// files are those of an archive, or of the layers of an artifact over each other.
func (c remoteContent) files() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, blob := range c.Blobs {
		unpacked, err := archive.Untar(blob.Data)
		if err != nil {
			return nil, c.broken(blob.Name, err)
		}
		maps.Copy(files, unpacked)
	}
	return files, nil
}
