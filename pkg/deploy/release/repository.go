// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/render/memo"
)

// indexCacheLimit bounds the bytes of the index files whose content is kept.
const indexCacheLimit = 64 << 20

// rememberedRefs bounds how many references are remembered.
const rememberedRefs = 10_000

// repository downloads archives from repositories of either kind, through
// mirrors and the cache. What is cached is for those alone who enter a repository as
// the one did who was given it.
type repository struct {
	options Options
	fetch   fetcher
	client  *http.Client // of those who enter as nobody in particular
	mirrors *http.Client // its connections may be to addresses that no stranger's URL reaches
	now     func() time.Time

	archives *memo.Cache[string, []byte]     // by scope and digest, or URL where an index has no digest
	indexes  *memo.Cache[string, *index]     // by scope and URL
	resolved *memo.Cache[string, resolution] // what a reference meant last, by its key
	flights  memo.Flights[string, []byte]    // by its key
}

// resolution is what a reference meant at a time.
type resolution struct {
	archive string // key in the cache of archives
	at      time.Time
}

func newRepository(options Options) *repository {
	return &repository{
		options:  options,
		fetch:    fetcher{timeout: options.FetchTimeout, limit: options.FetchLimit},
		client:   newHTTPClient(options.Addresses, nil),
		mirrors:  newHTTPClient(options.Addresses, nil),
		now:      time.Now,
		archives: memo.NewCache[string, []byte](options.CacheLimit),
		indexes:  memo.NewCache[string, *index](indexCacheLimit),
		resolved: memo.NewCache[string, resolution](rememberedRefs),
	}
}

// load returns the archive that a reference means. Its errors are faults.
func (r *repository) load(ctx context.Context, ref ChartRef) ([]byte, error) {
	key := ref.key()
	if archive, ok := r.recall(key, r.options.IndexTTL); ok {
		return archive, nil
	}
	return r.flights.Do(ctx, key, func() ([]byte, error) {
		if archive, ok := r.recall(key, r.options.IndexTTL); ok {
			return archive, nil // the flight before this one brought it
		}
		found, archive, err := r.download(ctx, ref)
		if err == nil {
			err = checkUnpacked(archive)
		}
		if err != nil {
			return r.fallBack(ctx, ref, err)
		}
		r.archives.Put(found, archive, int64(len(archive)))
		r.resolved.Put(key, resolution{found, r.now()}, 1)
		return archive, nil
	})
}

// recall returns the archive of a reference that was resolved within the time
// given; zero means ever.
func (r *repository) recall(key string, within time.Duration) ([]byte, bool) {
	known, ok := r.resolved.Get(key)
	if !ok || within > 0 && r.now().Sub(known.at) > within {
		return nil, false
	}
	return r.archives.Get(known.archive)
}

// fallBack uses what is remembered of a repository that can't be reached: it
// may be down for the reason for which a cluster is being replaced.
func (r *repository) fallBack(ctx context.Context, ref ChartRef, err error) ([]byte, error) {
	var f *fault
	if !errors.As(err, &f) || ctx.Err() != nil {
		return nil, err
	}
	// Who is nobody in particular is denied what was for everybody when he asked too
	// often. Credentials that are denied count no more.
	if f.reason != Unreachable && (f.reason != Denied || ref.Access != nil) {
		return nil, err
	}
	archive, ok := r.recall(ref.key(), 0)
	if !ok {
		return nil, err
	}
	klog.FromContext(ctx).Info("Chart repository can't be reached, using the chart in memory", "chart", ref, "reason", err.Error())
	return archive, nil
}

// download resolves a reference and returns its archive, with its key in the
// cache.
func (r *repository) download(ctx context.Context, ref ChartRef) (key string, archive []byte, err error) {
	base, err := parseURL(ref.RepositoryURL)
	if err != nil {
		return "", nil, err
	}
	if ref.ChartName == "" {
		return "", nil, faultf(Invalid, "no chart name")
	}
	v, err := r.visit(ref, base)
	if err != nil {
		return "", nil, err
	}
	defer v.end()
	switch base.Scheme {
	case "http", "https":
		return v.downloadHTTP(ctx, ref)
	case "oci":
		return v.downloadOCI(ctx, strings.TrimSuffix(ref.RepositoryURL, "/")+"/"+strings.Trim(ref.ChartName, "/"), ref.Version)
	}
	return "", nil, faultf(Invalid, "%s is no http, https or oci URL", RedactURL(ref.RepositoryURL))
}

// parseURL refuses what is no absolute URL, and credentials: they would show
// wherever the profile does.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return nil, faultf(Invalid, "%q is not the URL of a repository", RedactURL(raw))
	}
	if u.User != nil {
		return nil, faultf(Invalid, "credentials in the URL of a repository are not supported: %s", RedactURL(raw))
	}
	return u, nil
}

// at returns where what a URL names is downloaded from.
func (r *repository) at(raw string) (place, error) {
	asked, err := parseURL(raw)
	if err != nil {
		return place{}, err
	}
	resolved := r.options.Mirror(raw)
	if resolved == raw {
		return place{asked: asked, target: asked}, nil
	}
	target, err := parseURL(resolved)
	return place{asked: asked, target: target, mirrored: true}, err
}
