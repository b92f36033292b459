// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package flux reads what Flux's source-controller has fetched: the status of its objects
// says where an archive is, and by which digest it is known.
package flux

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group of Flux's sources.
const Group = "source.toolkit.fluxcd.io"

// Kinds of sources.
const (
	GitRepository = "GitRepository"
	OCIRepository = "OCIRepository"
	Bucket        = "Bucket"
)

// IsKind reports whether objects of a kind are sources.
func IsKind(kind string) bool {
	return kind == GitRepository || kind == OCIRepository || kind == Bucket
}

// Versions of a kind, the one to be read first if a host serves several.
func Versions(kind string) []schema.GroupVersionKind {
	group := schema.GroupKind{Group: Group, Kind: kind}
	return []schema.GroupVersionKind{group.WithVersion("v1"), group.WithVersion("v1beta2")}
}

// Reference is a source in a URL, as in gitrepository://namespace/name/path.
type Reference struct {
	Kind, Namespace, Name string
	// Path in the source, empty for its root.
	Path string
}

var errReference = errors.New("has to be gitrepository://, ocirepository:// or bucket:// and then NAMESPACE/NAME or NAMESPACE/NAME/PATH")

// IsURL reports whether a URL is of a source of Flux.
func IsURL(raw string) bool {
	scheme, _, found := strings.Cut(raw, "://")
	return found && kindOf(scheme) != ""
}

func kindOf(scheme string) string {
	for _, kind := range []string{GitRepository, OCIRepository, Bucket} {
		if strings.EqualFold(scheme, kind) {
			return kind
		}
	}
	return ""
}

// ParseURL reads a URL of which IsURL is true.
func ParseURL(raw string) (Reference, error) {
	scheme, rest, _ := strings.Cut(raw, "://")
	namespace, rest, _ := strings.Cut(rest, "/")
	name, directory, _ := strings.Cut(rest, "/")
	reference := Reference{Kind: kindOf(scheme), Namespace: namespace, Name: name, Path: directory}
	if reference.Kind == "" || namespace == "" || name == "" || strings.ContainsAny(raw, "?#@") {
		return Reference{}, errReference
	}
	return reference, nil
}

// Artifact is what was fetched last.
type Artifact struct {
	// URL is where source-controller serves it.
	URL string
	// Digest is of the archive, as in "sha256:0123…".
	Digest string
	// Revision is what the source calls it, a branch and a commit for example.
	Revision string
}

// NotReadyError says that a source has no artifact.
type NotReadyError struct {
	// Why is what the source itself says, empty if it says nothing.
	Why string
}

// Error quotes the source.
func (e *NotReadyError) Error() string {
	if e.Why == "" {
		return "has no artifact yet; its controller has not fetched it"
	}
	return "has no artifact yet: " + e.Why
}

// maxWhy is how much of a source's own words is quoted, in bytes.
const maxWhy = 512

// ArtifactOf returns the artifact of a source: the last one there is, also if the source
// is not ready now, because what it is of may be out of reach just then. Errors are
// *NotReadyError.
func ArtifactOf(source *unstructured.Unstructured) (Artifact, error) {
	var artifact Artifact
	for field, to := range map[string]*string{"url": &artifact.URL, "digest": &artifact.Digest, "revision": &artifact.Revision} {
		*to, _, _ = unstructured.NestedString(source.Object, "status", "artifact", field)
	}
	if artifact.Digest == "" {
		// As v1beta2 had it first.
		if sum, _, _ := unstructured.NestedString(source.Object, "status", "artifact", "checksum"); sum != "" {
			artifact.Digest = "sha256:" + sum
		}
	}
	if artifact.URL == "" || artifact.Digest == "" {
		return Artifact{}, &NotReadyError{Why: whyNotReady(source)}
	}
	return artifact, nil
}

// whyNotReady quotes the condition Ready.
func whyNotReady(source *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(source.Object, "status", "conditions")
	for _, each := range conditions {
		condition, _ := each.(map[string]any)
		if condition["type"] != "Ready" || condition["status"] == "True" {
			continue
		}
		why := fmt.Sprint(condition["reason"])
		if message, _ := condition["message"].(string); message != "" {
			why += ": " + message
		}
		if len(why) > maxWhy {
			why = strings.ToValidUTF8(why[:maxWhy], "") + "…"
		}
		return why
	}
	return ""
}

// PathError says that a source has nothing at a path.
type PathError struct {
	Path string
}

// Error names the path.
func (e *PathError) Error() string { return fmt.Sprintf("the artifact has nothing at path %q", e.Path) }

// At returns the files below a path of a source, by their paths from there. If the path
// is that of a file, it is the only one, by its name. Errors are *PathError.
func At(files map[string][]byte, at string) (map[string][]byte, error) {
	for segment := range strings.SplitSeq(at, "/") {
		if segment == ".." {
			return nil, &PathError{at}
		}
	}
	directory := strings.TrimPrefix(path.Clean("/"+at), "/")
	if directory == "" {
		return files, nil
	}
	if data, found := files[directory]; found {
		return map[string][]byte{path.Base(directory): data}, nil
	}
	out := map[string][]byte{}
	for name, data := range files {
		if rest, found := strings.CutPrefix(name, directory+"/"); found {
			out[rest] = data
		}
	}
	if len(out) == 0 {
		return nil, &PathError{at}
	}
	return out, nil
}
