// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package remote fetches what profiles name by a URL: files and archives over HTTP, and
// artifacts of OCI registries.
//
// A URL is a stranger's wish. What is fetched is limited in size and time, its server is
// looked at after DNS and after each redirect, and credentials reach the host that they
// were given for and no other. What was fetched serves all clusters until its interval is
// over.
package remote

import (
	"cmp"
	"context"
	"crypto/sha256"
	_ "crypto/sha512" // digests may be of it
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	godigest "github.com/opencontainers/go-digest"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/render/egress"
	"github.com/muster-project/muster/pkg/render/memo"
)

const (
	// DefaultInterval is the time between two fetches of a source that names none, and
	// minInterval the shortest that one may name.
	DefaultInterval = 5 * time.Minute
	minInterval     = 10 * time.Second
	// retention is how many bytes of what was fetched are kept.
	retention = 128 << 20
)

// Credentials are what a Secret holds for a source.
type Credentials struct {
	// Token, or Username and Password.
	Token, Username, Password string
	// CA are the certificates, in PEM, of the only authorities that are trusted.
	CA []byte
}

// Source is what is fetched.
type Source struct {
	// URL is http, https or oci. An oci URL may end in a tag or a digest.
	URL string
	// Interval is the time between two fetches, DefaultInterval if zero.
	Interval    time.Duration
	Credentials Credentials
	// InsecureSkipTLSVerify accepts any certificate.
	InsecureSkipTLSVerify bool
	// PlainHTTP speaks to an OCI registry without TLS.
	PlainHTTP bool
	// Digest is what an http or https URL has to serve, as in "sha256:0123…"; empty is
	// anything. What has it is fetched once, and never due again.
	Digest string
}

// Blob is one file, as it was served.
type Blob struct {
	// Name is the last part of the URL, or what the artifact calls the layer.
	Name string
	Data []byte
}

// Content is what a source holds. It is shared and must not be written to.
type Content struct {
	// Blobs is one for HTTP, and one for each layer of an artifact.
	Blobs []Blob
	// Digest is of all of it, "sha256:" and hexadecimal digits.
	Digest string
	// Due is when it has to be fetched again, zero if never.
	Due time.Time
}

// Options configure a Fetcher. The zero value works.
type Options struct {
	// Mirror maps a URL to the one that is fetched in its place; nil keeps every URL. A
	// mirror is the operator's: it may be on a loopback address, and no credentials of
	// the source are sent to it.
	Mirror func(url string) string
	// Addresses are those that are fetched from.
	Addresses egress.Policy
	// Timeout bounds one fetch, 30 s if zero.
	Timeout time.Duration
	// Limit bounds the bytes of one source, 32 MiB if zero.
	Limit int64
	// Now is the clock, time.Now if nil.
	Now func() time.Time
}

// Fetcher fetches sources. It is safe for concurrent use.
type Fetcher struct {
	options Options
	known   *memo.Cache[string, Content]
	flights memo.Flights[string, Content]
}

// NewFetcher returns a Fetcher.
func NewFetcher(options Options) *Fetcher {
	if options.Mirror == nil {
		options.Mirror = func(url string) string { return url }
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	options.Timeout = cmp.Or(options.Timeout, 30*time.Second)
	options.Limit = cmp.Or(options.Limit, 32<<20)
	return &Fetcher{options: options, known: memo.NewCache[string, Content](retention)}
}

// Fetch returns what a source holds: what was fetched before, if that is not due again. A
// server that can't be reached is no reason to forget what it had. Errors are *Error, or
// the context's.
func (f *Fetcher) Fetch(ctx context.Context, source Source) (Content, error) {
	key, err := source.key()
	if err != nil {
		return Content{}, err
	}
	if content, ok := f.recall(key); ok {
		return content, nil
	}
	return f.flights.Do(ctx, key, func() (Content, error) {
		if content, ok := f.recall(key); ok {
			return content, nil // the flight before this one brought it
		}
		return f.fetch(ctx, key, source)
	})
}

// key tells sources apart, and those with different credentials too: who may not fetch
// something must not be given what another has fetched.
func (s Source) key() (string, error) {
	encoded, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encoding a source: %w", err)
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:]), nil
}

func (f *Fetcher) recall(key string) (Content, bool) {
	content, ok := f.known.Get(key)
	return content, ok && (content.Due.IsZero() || f.options.Now().Before(content.Due))
}

func (f *Fetcher) fetch(ctx context.Context, key string, source Source) (Content, error) {
	limited, cancel := context.WithTimeout(ctx, f.options.Timeout)
	defer cancel()
	blobs, err := f.blobs(limited, source)
	if err == nil {
		err = source.verify(blobs)
	}
	if ctx.Err() != nil {
		return Content{}, context.Cause(ctx)
	}
	due := f.options.Now().Add(max(cmp.Or(source.Interval, DefaultInterval), minInterval))
	if err != nil {
		return f.fallBack(ctx, key, due, source, err)
	}
	if source.Digest != "" {
		due = time.Time{}
	}
	content := Content{Blobs: blobs, Digest: digestOf(blobs), Due: due}
	size := int64(0)
	for _, blob := range blobs {
		size += int64(len(blob.Data))
	}
	f.known.Put(key, content, size+1)
	return content, nil
}

// verify compares what was fetched with the digest that it has to have.
func (s Source) verify(blobs []Blob) error {
	if s.Digest == "" {
		return nil
	}
	wanted := godigest.Digest(s.Digest)
	if wanted.Validate() != nil {
		return faultf(Invalid, "its digest has to be a sha256, sha384 or sha512 one")
	}
	for _, blob := range blobs {
		if got := wanted.Algorithm().FromBytes(blob.Data); got != wanted {
			return faultf(Invalid, "it is not what it should be: its digest is %s, not %s", got, wanted)
		}
	}
	return nil
}

// fallBack uses what is remembered of a server that can't be reached.
func (f *Fetcher) fallBack(ctx context.Context, key string, due time.Time, source Source, err error) (Content, error) {
	failed := &Error{Reason: Unreachable, URL: RedactURL(source.URL), Err: err}
	var known *fault
	if errors.As(err, &known) {
		failed.Reason = known.reason
	}
	content, ok := f.known.Get(key)
	if failed.Reason != Unreachable || !ok {
		return Content{}, failed
	}
	klog.FromContext(ctx).Info("Source can't be reached, using what is in memory", "url", failed.URL, "reason", failed.Err.Error())
	content.Due = due
	return content, nil
}

func digestOf(blobs []Blob) string {
	sum := sha256.New()
	for _, blob := range blobs {
		each := sha256.Sum256(blob.Data)
		fmt.Fprintf(sum, "%q %x\n", blob.Name, each)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

// blobs fetches a source from where it is, or from its mirror.
func (f *Fetcher) blobs(ctx context.Context, source Source) ([]Blob, error) {
	asked, err := parseURL(source.URL)
	if err != nil {
		return nil, err
	}
	target, mirror := asked, (*url.URL)(nil)
	if resolved := f.options.Mirror(source.URL); resolved != source.URL {
		if mirror, err = parseURL(resolved); err != nil {
			return nil, err
		}
		target, source.Credentials = mirror, Credentials{}
	}
	client, err := f.client(source)
	if err != nil {
		return nil, err
	}
	if mirror != nil {
		ctx = egress.WithMirror(ctx, mirror)
	}
	defer client.CloseIdleConnections()
	if asked.Scheme == "oci" {
		return f.pull(ctx, client, target, source, mirror)
	}
	return f.get(ctx, client, target, source)
}

// parseURL refuses what is no absolute URL, and credentials: they would show wherever the
// profile does.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "":
		return nil, faultf(Invalid, "it is no URL")
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "oci":
		return nil, faultf(Invalid, "it is no http, https or oci URL")
	case u.User != nil:
		return nil, faultf(Invalid, "it has credentials in it; give them in a Secret")
	}
	return u, nil
}

// get downloads one file.
func (f *Fetcher) get(ctx context.Context, client *http.Client, target *url.URL, source Source) ([]Blob, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, faultf(Invalid, "it is no URL")
	}
	req.Header.Set("User-Agent", "muster")
	switch c := source.Credentials; {
	case c.Token != "":
		req.Header.Set("Authorization", "Bearer "+c.Token)
	case c.Username != "" || c.Password != "":
		req.SetBasicAuth(c.Username, c.Password)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, failure(err)
	}
	defer func() { _ = resp.Body.Close() }() // all that was wanted has been read
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return nil, faultf(NotFound, "the server answers %s", resp.Status)
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, faultf(Denied, "the server answers %s", resp.Status)
	default:
		return nil, faultf(Unreachable, "the server answers %s", resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, f.options.Limit+1))
	switch {
	case err != nil:
		return nil, failure(err)
	case int64(len(data)) > f.options.Limit:
		return nil, faultf(Invalid, "it has more than %d bytes", f.options.Limit)
	}
	return []Blob{{Name: lastPart(source.URL), Data: data}}, nil
}

// lastPart names what a URL is of.
func lastPart(raw string) string {
	name := path.Base(strings.TrimRight(RedactURL(raw), "/"))
	return cmp.Or(strings.Trim(name, "."), "content")
}
