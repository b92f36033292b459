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
func (v *visit) downloadHTTP(ctx context.Context, ref ChartRef) (key string, archive []byte, err error) {
	base, err := v.at(ref.RepositoryURL)
	if err != nil {
		return "", nil, err
	}
	if base.target.Scheme != "http" && base.target.Scheme != "https" {
		return "", nil, faultf(Invalid, "the mirror of %s has to be an http or https URL", RedactURL(ref.RepositoryURL))
	}
	idx, err := v.index(ctx, base)
	if err != nil {
		return "", nil, err
	}
	entry, err := idx.find(chartInRepository(ref), ref.Version)
	if err != nil {
		return "", nil, err
	}
	err = faultf(Invalid, "the index has no URL for version %s", entry.Version)
	for _, raw := range entry.URLs {
		if key, archive, err = v.downloadEntry(ctx, base, raw, entry); err == nil {
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
func (v *visit) downloadEntry(ctx context.Context, base place, raw string, entry indexEntry) (key string, archive []byte, err error) {
	if schemeOf(raw) == "oci" { // its mirror is looked up with the tag apart
		reference, tag, _ := strings.Cut(raw, "@")
		if at := strings.LastIndex(reference, ":"); at > strings.LastIndex(reference, "/") {
			reference, tag = reference[:at], reference[at+1:]
		}
		if key, archive, err = v.downloadOCI(ctx, reference, tag); err == nil {
			err = checkDigest(archive, entry, raw)
		}
		return key, archive, err
	}
	from, err := v.archiveAt(base, raw)
	if err != nil {
		return "", nil, err
	}
	digest := normalDigest(entry.Digest)
	if key = v.archiveKey(digest); digest == "" {
		key = v.archiveKey(from.target.String())
	}
	archive, ok := v.archives.Get(key)
	if !ok {
		got, err := v.get(ctx, from, "")
		if err != nil {
			return "", nil, err
		}
		archive = got.body
	}
	if err := checkDigest(archive, entry, from.target.String()); err != nil {
		return "", nil, err
	}
	return key, archive, v.checkDownloaded(ctx, from, archive)
}

// checkDigest returns a fault if an archive is not the one that an index names.
func checkDigest(archive []byte, entry indexEntry, from string) error {
	digest := normalDigest(entry.Digest)
	if digest == "" || digestOf(archive) == digest {
		return nil
	}
	return faultf(Invalid, "%s is not what the index says: its digest is %s, not %s", RedactURL(from), digestOf(archive), digest)
}

// archiveAt says where an archive is that an index has a URL of. A relative one is below
// the repository and has its query; an absolute one goes through the mirrors.
func (v *visit) archiveAt(base place, raw string) (place, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return place{}, faultf(Invalid, "the index has a malformed URL")
	}
	if u.Host != "" && !u.IsAbs() {
		u.Scheme = base.asked.Scheme // another host's, which is not the mirror
		raw = u.String()
	}
	at := place{asked: below(base.asked, u), target: below(base.target, u), mirrored: base.mirrored}
	if u.IsAbs() {
		if at, err = v.at(raw); err != nil {
			return place{}, err
		}
	}
	if at.target.Scheme != "http" && at.target.Scheme != "https" {
		return place{}, faultf(Invalid, "the index has a URL that is neither http nor https: %s", RedactURL(at.target.String()))
	}
	return at, nil
}

// below resolves a relative URL in a repository.
func below(base, relative *url.URL) *url.URL {
	directory := *base
	directory.Path, directory.RawPath = strings.TrimSuffix(directory.Path, "/")+"/", ""
	resolved := directory.ResolveReference(relative)
	resolved.RawQuery = base.RawQuery
	return resolved
}

func schemeOf(raw string) string {
	scheme, _, _ := strings.Cut(raw, "://")
	return strings.ToLower(scheme)
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
func (v *visit) index(ctx context.Context, base place) (*index, error) {
	file := &url.URL{Path: "index.yaml"}
	from := place{asked: below(base.asked, file), target: below(base.target, file), mirrored: base.mirrored}
	target := from.target.String()
	key := v.scope + " " + target
	known, ok := v.indexes.Get(key)
	if ok && v.now().Sub(known.at) < v.options.IndexTTL {
		return known, nil
	}
	etag := ""
	if ok {
		etag = known.etag
	}
	got, err := v.get(ctx, from, etag)
	if err != nil {
		return nil, err
	}
	fresh := known
	if got.unchanged && ok {
		copied := *known
		fresh = &copied
	} else if fresh, err = parseIndex(got.body); err != nil {
		return nil, faultf(Invalid, "%s: %w", RedactURL(target), err)
	} else {
		fresh.etag, fresh.size = got.etag, int64(len(got.body))
	}
	fresh.at = v.now()
	v.indexes.Put(key, fresh, fresh.size)
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
