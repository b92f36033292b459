// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
)

// ChartRef names a chart as a profile does, templates already rendered.
type ChartRef struct {
	// RepositoryURL is an http, https or oci URL, before mirrors. It may not
	// carry credentials.
	RepositoryURL string
	// RepositoryName is the prefix that ChartName may have.
	RepositoryName string
	// ChartName is "repository/chart" or "chart". In an OCI registry it is
	// the path below RepositoryURL.
	ChartName string
	// Version is a version ("3.3.3", "v3.3.3"), a constraint ("~3.3"), or empty
	// for the newest stable one.
	Version string
	// DependencyUpdate loads charts that this one depends on and does not hold.
	// They have to be whole.
	DependencyUpdate bool
	// Access is how the repository is entered, nil as nobody in particular.
	Access *Access
	// Verify is what has to be proved of the chart, nil nothing.
	Verify *Verification
	// Files are the chart itself if RepositoryURL is of something else than a repository,
	// as a Flux source.
	Files *Files
}

// key tells references apart, and those who enter the repository differently.
func (r ChartRef) key() string {
	return hashOf([]any{r.RepositoryURL, r.RepositoryName, r.ChartName, r.Version, r.Access.scope(), r.Verify})
}

// String returns "chart version from repository".
func (r ChartRef) String() string {
	version := r.Version
	if version == "" {
		version = "(newest)"
	}
	return fmt.Sprintf("%s %s from %s", r.ChartName, version, RedactURL(r.RepositoryURL))
}

// Chart is a chart archive. It is immutable and may be deployed many times,
// at the same time.
type Chart struct {
	// Ref is what it was loaded for.
	Ref ChartRef
	// Name, Version, AppVersion and Icon are the chart's metadata.
	Name       string
	Version    string
	AppVersion string
	Icon       string
	// Digest is "sha256:" and the hash of the archive, in hexadecimal.
	Digest string

	archive []byte
	// dependencies are charts that are not in the archive.
	dependencies []*Chart
}

// LoadChart returns the chart that ref names: from memory where the repository
// says that its digest is the same, or has said so within IndexTTL, or can't be
// reached. Errors are *ChartError, or ctx's.
func (m *Manager) LoadChart(ctx context.Context, ref ChartRef) (*Chart, error) {
	load := m.repository.load
	if ref.Files != nil {
		load = m.repository.pack
	}
	archive, err := load(ctx, ref)
	if err != nil {
		return nil, refError(ctx, ref, err)
	}
	loaded, err := newChart(archive, ref)
	if err != nil {
		return nil, refError(ctx, ref, &fault{Invalid, err})
	}
	if err := loaded.isMeant(); err != nil {
		return nil, refError(ctx, ref, err)
	}
	if ref.DependencyUpdate {
		return m.complete(ctx, loaded)
	}
	return loaded, nil
}

// isMeant returns a fault if a chart that no index names is another than the one asked
// for, and if one that is signed was put in the place of another.
func (c *Chart) isMeant() error {
	if c.Ref.Verify != nil && c.Name != chartInRepository(c.Ref) {
		return faultf(Untrusted, "the chart that is signed is %s", c.Name)
	}
	if c.Ref.Verify == nil && c.Ref.Files == nil || c.Ref.Version == "" {
		return nil
	}
	if _, err := pickVersion(c.Ref.Version, []string{c.Version}); err != nil {
		return faultf(NotFound, "the chart there is of version %s", c.Version)
	}
	return nil
}

// refError makes a *ChartError of what went wrong with a reference.
func refError(ctx context.Context, ref ChartRef, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("loading chart %s: %w", ref, ctx.Err())
	}
	reason := Unreachable
	var f *fault
	if errors.As(err, &f) {
		reason = f.reason
	}
	return &ChartError{Reason: reason, Repository: RedactURL(ref.RepositoryURL), Chart: ref.ChartName, Version: ref.Version, Err: &shortError{err}}
}

// newChart makes sure of an archive.
func newChart(archive []byte, ref ChartRef) (*Chart, error) {
	c := &Chart{Ref: ref, archive: archive, Digest: digestOf(archive)}
	parsed, err := c.parse()
	if err != nil {
		return nil, err
	}
	switch parsed.Metadata.Type {
	case "", "application":
	default:
		return nil, fmt.Errorf("its type is %q, only application charts can be installed", parsed.Metadata.Type)
	}
	if err := action.CheckDependencies(parsed, parsed.Metadata.Dependencies); err != nil && !ref.DependencyUpdate {
		return nil, fmt.Errorf("the archive is not complete: %w", err)
	}
	c.Name, c.Version, c.AppVersion, c.Icon = parsed.Name(), parsed.Metadata.Version, parsed.AppVersion(), parsed.Metadata.Icon
	return c, nil
}

// parse returns a new copy of the chart: Helm writes to the one it deploys.
func (c *Chart) parse() (*chart.Chart, error) {
	parsed, err := loader.LoadArchive(bytes.NewReader(c.archive))
	if err != nil {
		return nil, fmt.Errorf("not a chart archive: %w", err)
	}
	if err := parsed.Validate(); err != nil {
		return nil, fmt.Errorf("not a valid chart: %w", err)
	}
	return parsed, c.addDependencies(parsed)
}

// maxUnpacked is how many bytes a chart may unpack to. Helm would take three times as
// many, and a chart is unpacked for each cluster; its record, which holds all of it,
// has room for 1 MiB of it compressed.
const maxUnpacked = 32 << 20

// unpackedSize is how many bytes an archive unpacks to, at most one more than it may. What
// is none is for Helm to refuse.
func unpackedSize(archive []byte) int64 {
	reader, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return 0
	}
	size, _ := io.Copy(io.Discard, io.LimitReader(reader, maxUnpacked+1)) // damaged: what there is
	return size
}

// checkUnpacked returns a fault if an archive unpacks to more than it may.
func checkUnpacked(archive []byte) error {
	if unpackedSize(archive) > maxUnpacked {
		return faultf(Invalid, "the chart unpacks to more than %d bytes", maxUnpacked)
	}
	return nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// RedactURL returns a URL without user information, query and fragment.
func RedactURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(malformed URL)"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}
