// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package inventory remembers what every profile has put on every cluster.
//
// There is one Record per (cluster, profile). Records are the authority on who
// owns an object or a release: an object's own annotations count only where no
// record names it. A record is written before what it names is applied, so that
// whatever was applied by a process that died is still found, and removed or
// adopted, by its successor.
package inventory

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/muster-project/muster/pkg/fleet"
)

// Owner is a profile that owns objects or releases on a cluster.
type Owner struct {
	// Kind is ClusterProfile or Profile.
	Kind string `json:"kind"`
	// Namespace is empty for a ClusterProfile.
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// Cluster is the managed cluster, as "namespace/name", that content of the host is
	// for; empty for what is on a managed cluster. A profile is another owner on the
	// host for each of its clusters.
	Cluster string `json:"cluster,omitempty"`
	// Tier decides conflicts, the lower one wins. It is not part of the
	// owner's identity.
	Tier int32 `json:"tier,omitempty"`
}

// OwnerKey is what identifies an Owner.
type OwnerKey struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Cluster   string `json:"cluster,omitempty"`
}

// Key returns the owner's identity.
func (o Owner) Key() OwnerKey {
	return OwnerKey{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, Cluster: o.Cluster}
}

// Profile is the profile alone, whatever the cluster that it deploys something for.
func (k OwnerKey) Profile() OwnerKey {
	k.Cluster = ""
	return k
}

// For is the owner of what the profile has on the host for a managed cluster.
func (k OwnerKey) For(cluster fleet.Ref) OwnerKey {
	k.Cluster = cluster.Namespace + "/" + cluster.Name
	return k
}

// HostKind is the kind of the one cluster that is not a managed one.
const HostKind = "HostCluster"

// Host is the host cluster, as the cluster of a record.
func Host() fleet.Ref { return fleet.Ref{Kind: HostKind, Name: "host"} }

// String returns "Kind name" or "Kind namespace/name".
func (o Owner) String() string { return o.Key().String() }

// String returns "Kind name" or "Kind namespace/name", and for what cluster.
func (k OwnerKey) String() string {
	text := k.Kind + " " + k.Name
	if k.Namespace != "" {
		text = k.Kind + " " + k.Namespace + "/" + k.Name
	}
	if k.Cluster != "" {
		text += " for " + k.Cluster
	}
	return text
}

// Compare orders owners by kind, namespace, name and cluster.
func (k OwnerKey) Compare(other OwnerKey) int {
	return slices.Compare([]string{k.Kind, k.Namespace, k.Name, k.Cluster}, []string{other.Kind, other.Namespace, other.Name, other.Cluster})
}

// Source is the reference of the profile that an object was rendered from.
type Source struct {
	Kind      string `json:"kind,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	// Tier decides between two sources of one profile that hold the same
	// object, the lower one wins.
	Tier int32 `json:"tier,omitempty"`
	// Private says that what was rendered may hold what is in a Secret, whatever the
	// source's own kind. It is not stored.
	Private bool `json:"-"`
}

// String returns "Kind namespace/name", or "Kind name" where there is no namespace.
func (s Source) String() string {
	if s.Namespace == "" {
		return s.Kind + " " + s.Name
	}
	return s.Kind + " " + s.Namespace + "/" + s.Name
}

// ObjectKey identifies an object in a cluster. The version is not part of it:
// the same object is served at several.
type ObjectKey struct {
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// String returns "Kind.group namespace/name", without what is empty.
func (k ObjectKey) String() string {
	var b strings.Builder
	b.WriteString(k.Kind)
	if k.Group != "" {
		b.WriteString("." + k.Group)
	}
	b.WriteString(" ")
	if k.Namespace != "" {
		b.WriteString(k.Namespace + "/")
	}
	b.WriteString(k.Name)
	return b.String()
}

// Object is an object that was applied to a cluster, or was about to be.
type Object struct {
	ObjectKey `json:",inline"`

	Version string `json:"version"`
	// Feature is the list of the profile that holds the object: Resources or
	// Kustomize.
	Feature string `json:"feature"`
	Source  Source `json:"source"`
	// UID is the object's in the cluster; empty until it was seen there.
	UID types.UID `json:"uid,omitempty"`
	// ContentHash is of what was applied. It is empty while that is in doubt:
	// from the moment an apply was planned until it is known to have succeeded.
	ContentHash string `json:"contentHash,omitempty"`
	// LastAppliedTime is the last success, zero if there was none.
	LastAppliedTime metav1.Time `json:"lastAppliedTime,omitzero"`
	// TakenFrom is the owner that the object is being taken over from. While it
	// is set, that owner's entry for the object counts for nothing.
	TakenFrom *OwnerKey `json:"takenFrom,omitempty"`
	// FormerOwners had the object before. Until it is applied for the new
	// owner, it may bear the marks of any of them.
	FormerOwners []OwnerKey `json:"formerOwners,omitempty"`
	// Fields is a hash of the fields that Muster manages in the object, as the
	// server had them when it was applied, and ResourceVersion the object's then: what
	// differs from them has drifted. Fields is NoFields where the server does not
	// tell, and empty where nobody has asked yet.
	Fields          string `json:"fields,omitempty"`
	ResourceVersion string `json:"resourceVersion,omitempty"`
	// IgnoreDrift says that the manifest asks for the object not to be checked.
	IgnoreDrift bool `json:"ignoreDrift,omitempty"`
}

// NoFields stands for a server that does not tell which fields Muster manages.
const NoFields = "-"

// ReleaseKey identifies a Helm release in a cluster.
type ReleaseKey struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String returns "release namespace/name".
func (k ReleaseKey) String() string { return "release " + k.Namespace + "/" + k.Name }

// Release is a Helm release that was deployed to a cluster, or was about to be.
type Release struct {
	ReleaseKey `json:",inline"`

	// Chart is the chart's name, without a repository's.
	Chart string `json:"chart,omitempty"`
	// Version is the chart's version as its metadata has it.
	Version    string `json:"version,omitempty"`
	AppVersion string `json:"appVersion,omitempty"`
	// RepoURL is the repository as the profile names it, before mirrors.
	RepoURL string `json:"repoURL,omitempty"`
	Icon    string `json:"icon,omitempty"`
	// ValuesHash is of the values that the release was deployed with.
	ValuesHash string `json:"valuesHash,omitempty"`
	// ContentHash is of everything that was asked for: repository, chart,
	// requested version, values. It is empty while in doubt, as with Object.
	ContentHash     string      `json:"contentHash,omitempty"`
	LastAppliedTime metav1.Time `json:"lastAppliedTime,omitzero"`
	// TakenFrom is as with Object.
	TakenFrom *OwnerKey `json:"takenFrom,omitempty"`

	// RepositoryName is what the profile calls the repository.
	RepositoryName string `json:"repositoryName,omitempty"`
	// PatchesHash is of what was changed in what the chart renders.
	PatchesHash string `json:"patchesHash,omitempty"`
	// Credentials names the Secret with which the repository is read.
	Credentials *SecretReference `json:"credentials,omitempty"`
	// Uninstall says how the release is to be uninstalled, which has to be known
	// also when the profile is gone; nil if it says nothing of it.
	Uninstall *Uninstall `json:"uninstall,omitempty"`
}

// SecretReference names a Secret of the host.
type SecretReference struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// Uninstall says how a release is uninstalled.
type Uninstall struct {
	DisableHooks bool `json:"disableHooks,omitempty"`
	// KeepHistory keeps the revisions of the release.
	KeepHistory bool `json:"keepHistory,omitempty"`
	// DeletionPropagation is orphan, foreground, background or empty.
	DeletionPropagation string `json:"deletionPropagation,omitempty"`
	// Timeout bounds each wait for a hook, zero for the default.
	Timeout metav1.Duration `json:"timeout,omitzero"`
}

// Record is what one profile has on one cluster.
type Record struct {
	Cluster fleet.Ref `json:"cluster"`
	// ClusterUID and ClusterID say which cluster it was: the registration's UID
	// and the UID of the cluster's kube-system namespace. A cluster that differs
	// in one of them is another one, of which this record says nothing.
	ClusterUID types.UID       `json:"clusterUID"`
	ClusterID  fleet.ClusterID `json:"clusterID"`

	Owner Owner `json:"owner"`
	// Summary is the name of the ClusterSummary, in the cluster's namespace.
	Summary string `json:"summary,omitempty"`
	// Revision is the name of the profile revision that was deployed last.
	Revision string `json:"revision,omitempty"`
	// Era is the one that it was deployed in; see records.Era. What an earlier one
	// says was applied may have been withdrawn since, by what a restore has undone.
	Era int64 `json:"era,omitempty"`
	// FeatureOrder is the order in which lists were deployed, if they had one. They are
	// withdrawn in the opposite one.
	FeatureOrder []string `json:"featureOrder,omitempty"`
	// Retriggered is what last asked for everything to be applied once more.
	Retriggered string `json:"retriggered,omitempty"`

	// Objects and Releases are in the order in which they were applied.
	Objects  []Object  `json:"objects,omitempty"`
	Releases []Release `json:"releases,omitempty"`

	// WantedObjects and WantedReleases are what the profile asked for and another one
	// owns. When that owner lets go of them, they come to this record instead
	// of being deleted.
	WantedObjects  []ObjectKey  `json:"wantedObjects,omitempty"`
	WantedReleases []ReleaseKey `json:"wantedReleases,omitempty"`
}

// BoundTo reports whether the record speaks of the cluster with these
// identities. An identity that the record does not have yet matches any.
func (r *Record) BoundTo(uid types.UID, id fleet.ClusterID) bool {
	return (r.ClusterUID == "" || r.ClusterUID == uid) && (r.ClusterID == "" || r.ClusterID == id)
}

// Empty reports whether the profile has nothing on the cluster, which does not
// mean that it wants nothing there.
func (r *Record) Empty() bool { return len(r.Objects) == 0 && len(r.Releases) == 0 }

// Object returns the entry of an object, or nil. It points into the record.
func (r *Record) Object(key ObjectKey) *Object {
	for i := range r.Objects {
		if r.Objects[i].ObjectKey == key {
			return &r.Objects[i]
		}
	}
	return nil
}

// ByKey returns the entries of all objects. They point into the record, and are good until
// its Objects are replaced.
func (r *Record) ByKey() map[ObjectKey]*Object {
	entries := make(map[ObjectKey]*Object, len(r.Objects))
	for i := range r.Objects {
		entries[r.Objects[i].ObjectKey] = &r.Objects[i]
	}
	return entries
}

// Release returns the entry of a release, or nil. It points into the record.
func (r *Record) Release(key ReleaseKey) *Release {
	for i := range r.Releases {
		if r.Releases[i].ReleaseKey == key {
			return &r.Releases[i]
		}
	}
	return nil
}

// Clone returns a copy that shares nothing that either could write to.
func (r *Record) Clone() *Record {
	out := *r
	out.FeatureOrder = slices.Clone(r.FeatureOrder)
	out.Objects = slices.Clone(r.Objects)
	out.Releases = slices.Clone(r.Releases)
	out.WantedObjects = slices.Clone(r.WantedObjects)
	out.WantedReleases = slices.Clone(r.WantedReleases)
	return &out
}
