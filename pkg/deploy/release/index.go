// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"path"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// index is what a repository's index.yaml says, as far as it is needed.
type index struct {
	entries map[string][]indexEntry
	etag    string
	size    int64
	at      time.Time // when the repository said so last
}

type indexEntry struct {
	Version string   `json:"version"`
	URLs    []string `json:"urls"`
	Digest  string   `json:"digest"`
}

// downloadHTTP downloads from a repository with an index.
func (r *repository) downloadHTTP(ctx context.Context, ref ChartRef) (key string, archive []byte, err error) {
	base, err := r.mirrored(ref.RepositoryURL)
	if err != nil {
		return "", nil, err
	}
	if base.Scheme != "http" && base.Scheme != "https" {
		return "", nil, faultf(Invalid, "the mirror of %s has to be an http or https URL", RedactURL(ref.RepositoryURL))
	}
	idx, err := r.index(ctx, base)
	if err != nil {
		return "", nil, err
	}
	entry, err := idx.find(chartInRepository(ref), ref.Version)
	if err != nil {
		return "", nil, err
	}
	err = faultf(Invalid, "the index has no URL for version %s", entry.Version)
	for _, raw := range entry.URLs {
		if key, archive, err = r.downloadEntry(ctx, base, raw, entry); err == nil {
			return key, archive, nil
		}
	}
	return "", nil, err
}

// chartInRepository returns the chart's name without the repository's. Names
// in an index have no slashes.
func chartInRepository(ref ChartRef) string {
	return path.Base(strings.TrimPrefix(ref.ChartName, ref.RepositoryName+"/"))
}

// downloadEntry downloads an archive from one of its URLs.
func (r *repository) downloadEntry(ctx context.Context, base *url.URL, raw string, entry indexEntry) (key string, archive []byte, err error) {
	target, err := r.archiveURL(base, raw)
	if err != nil {
		return "", nil, err
	}
	if target.Scheme == "oci" {
		reference, tag, _ := strings.Cut(raw, "@")
		if at := strings.LastIndex(reference, ":"); at > strings.LastIndex(reference, "/") {
			reference, tag = reference[:at], reference[at+1:]
		}
		return r.downloadOCI(ctx, reference, tag)
	}
	digest := normalDigest(entry.Digest)
	if key = digest; key == "" {
		key = target.String()
	}
	if archive, ok := r.archives.Get(key); ok {
		return key, archive, nil
	}
	got, err := r.fetch.get(ctx, target.String(), "")
	if err != nil {
		return "", nil, err
	}
	if digest != "" && digestOf(got.body) != digest {
		return "", nil, faultf(Invalid, "%s is not what the index says: its digest is %s, not %s", RedactURL(target.String()), digestOf(got.body), digest)
	}
	return key, got.body, nil
}

// archiveURL resolves a URL in an index. A relative one is below the
// repository and has its query; an absolute one goes through the mirrors.
func (r *repository) archiveURL(base *url.URL, raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, faultf(Invalid, "the index has a malformed URL")
	}
	if u.Scheme == "oci" {
		return u, nil // its mirror is looked up with the tag apart
	}
	if !u.IsAbs() {
		directory := *base
		directory.Path, directory.RawPath = strings.TrimSuffix(directory.Path, "/")+"/", ""
		resolved := directory.ResolveReference(u)
		resolved.RawQuery = base.RawQuery
		u = resolved
	} else if u, err = r.mirrored(raw); err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, faultf(Invalid, "the index has a URL that is neither http nor https: %s", RedactURL(u.String()))
	}
	return u, nil
}

// normalDigest returns "sha256:hex", or "" for what is no SHA-256.
func normalDigest(digest string) string {
	hex := strings.ToLower(strings.TrimPrefix(digest, "sha256:"))
	if len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return ""
	}
	return "sha256:" + hex
}

// index returns a repository's index, at most IndexTTL old.
func (r *repository) index(ctx context.Context, base *url.URL) (*index, error) {
	target := *base
	target.Path, target.RawPath = strings.TrimSuffix(target.Path, "/")+"/index.yaml", ""
	known, ok := r.indexes.Get(target.String())
	if ok && r.now().Sub(known.at) < r.options.IndexTTL {
		return known, nil
	}
	etag := ""
	if ok {
		etag = known.etag
	}
	got, err := r.fetch.get(ctx, target.String(), etag)
	if err != nil {
		return nil, err
	}
	fresh := known
	if got.unchanged && ok {
		copied := *known
		fresh = &copied
	} else if fresh, err = parseIndex(got.body); err != nil {
		return nil, faultf(Invalid, "%s: %w", RedactURL(target.String()), err)
	} else {
		fresh.etag, fresh.size = got.etag, int64(len(got.body))
	}
	fresh.at = r.now()
	r.indexes.Put(target.String(), fresh, fresh.size)
	return fresh, nil
}

var errNoIndex = errors.New("it is not the index of a chart repository")

// parseIndex reads an index.yaml, which may be JSON.
func parseIndex(data []byte) (*index, error) {
	var file struct {
		APIVersion string                  `json:"apiVersion"`
		Entries    map[string][]indexEntry `json:"entries"`
	}
	var err error
	if json.Valid(data) {
		err = json.Unmarshal(data, &file)
	} else {
		err = yaml.Unmarshal(data, &file)
	}
	if err != nil || file.APIVersion == "" {
		return nil, errNoIndex // what the parser quotes may be any web page
	}
	return &index{entries: file.Entries}, nil
}

// find returns the entry that a name and a version mean.
func (i *index) find(name, version string) (indexEntry, error) {
	entries := i.entries[name]
	if len(entries) == 0 {
		return indexEntry{}, faultf(NotFound, "the repository has no chart %q", name)
	}
	available := make([]string, 0, len(entries))
	for _, e := range entries {
		available = append(available, e.Version)
	}
	picked, err := pickVersion(version, available)
	if err != nil {
		return indexEntry{}, err
	}
	for _, e := range entries {
		if e.Version == picked {
			return e, nil
		}
	}
	return indexEntry{}, faultf(NotFound, "the repository has no version %s", picked)
}
