// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package history keeps what profiles have been, what they were deployed from, and
// how that ended on each cluster.
//
// A profile has a bounded list of entries, each with a number that only ever grows:
// a new one begins when the spec changes, and when a ConfigMap, URL or source of Flux that
// it is deployed from does. An object that templates see begins none when it changes, as a
// status does every so often: the entry has it as it was deployed last. Contents are kept by their digest, once for all entries and
// profiles that had them; of a Secret there is only a keyed hash, by which a change
// can be told and nothing guessed.
package history

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/storage/records"
)

// DefaultLimit is how many entries a profile has unless it is told otherwise.
const DefaultLimit = 10

// Keys begin with these. Below profiles there is one record for each profile, below
// clusters one for each profile and cluster, below contents one for each digest.
const (
	profilesPrefix = "history/profiles/"
	clustersPrefix = "history/clusters/"
	contentsPrefix = "history/contents/"
)

// KindURL is the kind of a source that is no object of the host.
const KindURL = "URL"

// maxContent bounds one content that is kept, in bytes. A larger one is used and not
// kept, and the entry cannot be deployed again with it.
const maxContent = 16 << 20

// ErrNotFound says that the profile, the entry or the content is not there.
var ErrNotFound = errors.New("not in the history")

// Cause is what made an entry.
type Cause string

const (
	// CauseSpec is a new spec.
	CauseSpec Cause = "Spec"
	// CauseContents is new contents under the same spec.
	CauseContents Cause = "Contents"
	// CauseRollback is a spec with the contents of a former entry.
	CauseRollback Cause = "Rollback"
)

// State is how a deployment ended.
type State string

const (
	// StateDeployed: the cluster has everything.
	StateDeployed State = "Deployed"
	// StateDeploying: something is not there yet, and nothing has failed.
	StateDeploying State = "Deploying"
	// StateFailed: something failed.
	StateFailed State = "Failed"
	// StateSuperseded: another entry has come. No cluster has it in its record.
	StateSuperseded State = "Superseded"
)

// Source is what was deployed from.
type Source struct {
	// Kind is ConfigMap, Secret, URL, one of Flux's sources, or an ObjectKind.
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	// Name is the URL, without what is secret in it, where Kind says so. That of a
	// source of Flux has behind it, after a slash, the path of which the content is.
	Name string `json:"name"`
	// Digest is of the content, in hexadecimal digits: SHA-256, for a Secret keyed
	// with the profile's salt.
	Digest string `json:"digest"`
	// Unkept says that the content was too large to be kept.
	Unkept bool `json:"unkept,omitempty"`
}

// Key is what identifies a source.
type Key struct{ Kind, Namespace, Name string }

// Key returns the source's identity.
func (s Source) Key() Key { return Key{s.Kind, s.Namespace, s.Name} }

// String returns "Kind namespace/name", or "Kind name" where there is no namespace.
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Kind + " " + k.Name
	}
	return k.Kind + " " + k.Namespace + "/" + k.Name
}

// Entry is what a profile has been for some time.
type Entry struct {
	// Number counts from 1.
	Number int64 `json:"number"`
	// Revision is the name of the stored spec that summaries have, and Spec that of
	// the same spec without pinned contents. They differ in a rollback.
	Revision string    `json:"revision"`
	Spec     string    `json:"spec"`
	Time     time.Time `json:"time"`
	Author   string    `json:"author,omitempty"`
	Cause    Cause     `json:"cause"`
	// ContentsOf is the number of the entry whose contents a rollback has.
	ContentsOf int64    `json:"contentsOf,omitempty"`
	Sources    []Source `json:"sources,omitempty"`
}

// Profile is the history of a profile.
type Profile struct {
	Owner revision.Owner `json:"owner"`
	// Salt keys the hashes of Secrets.
	Salt []byte `json:"salt"`
	// Entries are in the order of their numbers.
	Entries []Entry `json:"entries"`
}

// Entry returns the entry with a number.
func (p *Profile) Entry(number int64) (Entry, bool) {
	for _, e := range p.Entries {
		if e.Number == number {
			return e, true
		}
	}
	return Entry{}, false
}

// SecretHash is the hash of a Secret's content under the profile's salt.
func (p *Profile) SecretHash(content Content) string { return digest(p.Salt, content) }

// Deployment is how an entry fared on a cluster.
type Deployment struct {
	Number  int64     `json:"number"`
	Time    time.Time `json:"time"`
	State   State     `json:"state"`
	Message string    `json:"message,omitempty"`
}

// Cluster is what a profile has had on a cluster.
type Cluster struct {
	Owner   revision.Owner `json:"owner"`
	Cluster fleet.Ref      `json:"cluster"`
	// Deployments are in the order in which they began.
	Deployments []Deployment `json:"deployments"`
}

// Content is what a source holds, as far as it has a meaning.
type Content struct {
	// Type is a Secret's.
	Type        string            `json:"type,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Data        map[string][]byte `json:"data,omitempty"`
	// Blobs are what a URL serves, in the order of an artifact's layers.
	Blobs []Blob `json:"blobs,omitempty"`
	// Origin is the digest of what a URL serves, as its fetcher has it.
	Origin string `json:"origin,omitempty"`
}

// Blob is one file.
type Blob struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

// annotationDomain is that of the annotations of a source that have a meaning.
const annotationDomain = "projectsveltos.io"

// Meaningful are those annotations of a source that change what is rendered of it, nil
// if there are none.
func Meaningful(annotations map[string]string) map[string]string {
	var out map[string]string
	for key, value := range annotations {
		domain, _, _ := strings.Cut(key, "/")
		if domain != annotationDomain && !strings.HasSuffix(domain, "."+annotationDomain) {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[key] = value
	}
	return out
}

// digest is SHA-256 of what is in a content, keyed if there is a key. What a URL
// serves has been digested by who fetched it, and may be large: that counts for it.
func digest(key []byte, content Content) string {
	sum := sha256.New()
	if key != nil {
		sum = hmac.New(sha256.New, key)
	}
	// Each part with its length before it, or two parts could pass for others.
	write := func(parts ...[]byte) {
		for _, part := range parts {
			_, _ = fmt.Fprintf(sum, "%d:", len(part)) // a hash takes everything
			_, _ = sum.Write(part)
		}
	}
	write([]byte(content.Type), []byte(content.Origin))
	write([]byte(strconv.Itoa(len(content.Annotations))))
	for _, name := range slices.Sorted(maps.Keys(content.Annotations)) {
		write([]byte(name), []byte(content.Annotations[name]))
	}
	write([]byte(strconv.Itoa(len(content.Data))))
	for _, name := range slices.Sorted(maps.Keys(content.Data)) {
		write([]byte(name), content.Data[name])
	}
	if content.Origin == "" {
		for _, blob := range content.Blobs {
			write([]byte(blob.Name), blob.Data)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// Records is the part of *records.Store that the history needs.
type Records interface {
	Get(ctx context.Context, key string) (records.Record, error)
	Put(ctx context.Context, key string, value []byte) error
	Create(ctx context.Context, key string, value []byte) (int64, error)
	Delete(ctx context.Context, key string) error
	List(ctx context.Context, keyPrefix string) iter.Seq2[records.Record, error]
}

// Reader reads what is stored, whoever wrote it. It remembers nothing, and any
// replica may have one.
type Reader struct {
	records Records
}

// NewReader returns a reader of the history in records.
func NewReader(records Records) *Reader { return &Reader{records: records} }

// Profile returns the history of a profile. Its error is ErrNotFound if there is
// none.
func (r *Reader) Profile(ctx context.Context, owner revision.Owner) (*Profile, error) {
	out := &Profile{}
	if err := r.get(ctx, profilesPrefix+ownerKey(owner), out); err != nil {
		return nil, fmt.Errorf("history of %s %s: %w", owner.Kind, owner.Name, err)
	}
	return out, nil
}

// Clusters returns what a profile has had on each cluster, in the order of their
// namespaces and names.
func (r *Reader) Clusters(ctx context.Context, owner revision.Owner) ([]Cluster, error) {
	var out []Cluster
	for record, err := range r.records.List(ctx, clustersPrefix+ownerKey(owner)+"/") {
		if err != nil {
			return nil, fmt.Errorf("listing the history of %s %s: %w", owner.Kind, owner.Name, err)
		}
		var cluster Cluster
		if err := json.Unmarshal(record.Value, &cluster); err != nil {
			return nil, fmt.Errorf("decoding %s: %w", record.Key, err)
		}
		out = append(out, cluster)
	}
	return out, nil
}

// Content returns the content of a source that is kept.
func (r *Reader) Content(ctx context.Context, digest string) (Content, error) {
	var out Content
	if err := r.get(ctx, contentsPrefix+digest, &out); err != nil {
		return out, fmt.Errorf("content %s: %w", digest, err)
	}
	return out, nil
}

func (r *Reader) get(ctx context.Context, key string, into any) error {
	record, err := r.records.Get(ctx, key)
	if errors.Is(err, records.ErrNotFound) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(record.Value, into); err != nil {
		return fmt.Errorf("decoding %s: %w", key, err)
	}
	return nil
}

// ownerKey is the part of a key that names a profile. "_" cannot be the name of a
// namespace, so no ClusterProfile shares a key with a Profile.
func ownerKey(owner revision.Owner) string {
	return owner.Kind + "/" + segment(owner.Namespace) + "/" + owner.Name
}

func clusterKey(owner revision.Owner, cluster fleet.Ref) string {
	return clustersPrefix + strings.Join([]string{
		ownerKey(owner), segment(cluster.Kind), segment(cluster.Namespace), cluster.Name,
	}, "/")
}

func segment(name string) string {
	if name == "" {
		return "_"
	}
	return name
}

// ObjectKind is the kind of a source that is an object which templates see. What they see of
// a Secret counts as the Secret does.
func ObjectKind(of schema.GroupVersionKind) string {
	if of.Group == "" && of.Kind == configv1beta1.SourceKindSecret {
		return of.Kind
	}
	return of.GroupVersion().String() + "/" + of.Kind
}

// isObject reports whether a source is an object which templates see, and not a Secret.
func isObject(kind string) bool { return strings.Contains(kind, "/") }

// isSecret reports whether a source's content is not kept but hashed.
func isSecret(kind string) bool { return kind == configv1beta1.SourceKindSecret }
