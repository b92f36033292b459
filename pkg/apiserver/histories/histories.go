// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package histories shows what is recorded of profiles in the form that the API
// serves, on any replica.
package histories

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/deploy/history"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/registry/config/clusterprofile"
)

// Records is the part of *history.Reader that is needed.
type Records interface {
	Profile(ctx context.Context, owner revision.Owner) (*history.Profile, error)
	Clusters(ctx context.Context, owner revision.Owner) ([]history.Cluster, error)
	Content(ctx context.Context, digest string) (history.Content, error)
}

// Specs gives the specs of stored revisions; *revisions.Cache does.
type Specs interface {
	Get(ctx context.Context, name string) (*config.ProfileSpec, error)
}

// Histories shows histories.
type Histories struct {
	Records Records
	Specs   Specs
	// Secret reads the content of a Secret of the host, as deployments would.
	Secret func(ctx context.Context, namespace, name string) (history.Content, error)
}

var _ clusterprofile.Histories = &Histories{}

// History returns the revisions of a profile, the latest first.
func (h *Histories) History(ctx context.Context, owner revision.Owner, number int64) ([]config.ProfileRevision, error) {
	profile, err := h.Records.Profile(ctx, owner)
	if errors.Is(err, history.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", clusterprofile.ErrNoHistory, err)
	}
	if err != nil {
		return nil, err
	}
	clusters, err := h.Records.Clusters(ctx, owner)
	if err != nil {
		return nil, err
	}
	var out []config.ProfileRevision
	for i, entry := range slices.Backward(profile.Entries) {
		if number != 0 && entry.Number != number {
			continue
		}
		shown := show(entry, clusters, i == len(profile.Entries)-1)
		if number != 0 {
			if shown.Spec, err = h.Specs.Get(ctx, entry.Revision); err != nil {
				return nil, err
			}
			if shown.Obstacles, err = h.obstacles(ctx, profile, entry); err != nil {
				return nil, err
			}
		}
		out = append(out, shown)
	}
	if number != 0 && len(out) == 0 {
		return nil, fmt.Errorf("%w: revision %d of %s %s", clusterprofile.ErrNoHistory, number, owner.Kind, owner.Name)
	}
	return out, nil
}

func show(entry history.Entry, clusters []history.Cluster, latest bool) config.ProfileRevision {
	out := config.ProfileRevision{
		Number: entry.Number, Name: entry.Revision, Time: metav1.NewTime(entry.Time),
		Author: entry.Author, Cause: string(entry.Cause), ContentsOf: entry.ContentsOf,
	}
	for _, source := range entry.Sources {
		shown := config.RevisionSource{Kind: source.Kind, Namespace: source.Namespace, Name: source.Name}
		if source.Kind != v1beta1.SourceKindSecret {
			shown.Digest = source.Digest
		}
		out.Sources = append(out.Sources, shown)
	}
	for _, cluster := range clusters {
		for _, deployment := range slices.Backward(cluster.Deployments) {
			if deployment.Number != entry.Number {
				continue
			}
			out.Clusters = append(out.Clusters, config.RevisionCluster{
				Cluster: corev1.ObjectReference{
					APIVersion: cluster.Cluster.Group + "/" + lib.HubVersion, Kind: cluster.Cluster.Kind,
					Namespace: cluster.Cluster.Namespace, Name: cluster.Cluster.Name,
				},
				Time: metav1.NewTime(deployment.Time), State: string(deployment.State), Message: deployment.Message,
			})
			break
		}
	}
	slices.SortFunc(out.Clusters, func(a, b config.RevisionCluster) int {
		return slices.Compare([]string{a.Cluster.Namespace, a.Cluster.Name}, []string{b.Cluster.Namespace, b.Cluster.Name})
	})
	out.State = stateOf(out.Clusters, latest)
	return out
}

// stateOf sums up how the deployments of a revision ended.
func stateOf(clusters []config.RevisionCluster, latest bool) string {
	in := func(state history.State) bool {
		return slices.ContainsFunc(clusters, func(c config.RevisionCluster) bool { return c.State == string(state) })
	}
	switch {
	case !latest:
		return string(history.StateSuperseded)
	case in(history.StateFailed):
		return string(history.StateFailed)
	case in(history.StateDeploying) || len(clusters) == 0:
		return string(history.StateDeploying)
	}
	return string(history.StateDeployed)
}

// obstacles says what keeps the contents of an entry from being deployed again. They
// name Secrets and say nothing of what is in them.
func (h *Histories) obstacles(ctx context.Context, profile *history.Profile, entry history.Entry) ([]string, error) {
	var out []string
	for _, source := range entry.Sources {
		why := ""
		var err error
		switch {
		case source.Kind == v1beta1.SourceKindSecret:
			why, err = h.changed(ctx, profile, source)
		case source.Unkept:
			why = "was too large to be kept"
		default:
			_, err = h.Records.Content(ctx, source.Digest)
			if errors.Is(err, history.ErrNotFound) {
				why, err = "is not kept any more", nil
			}
		}
		if err != nil {
			return nil, err
		}
		if why != "" {
			out = append(out, source.Key().String()+" "+why)
		}
	}
	slices.SortFunc(out, strings.Compare)
	return out, nil
}

// changed compares a Secret with what it was, and says how it differs, if it does.
func (h *Histories) changed(ctx context.Context, profile *history.Profile, source history.Source) (string, error) {
	content, err := h.Secret(ctx, source.Namespace, source.Name)
	if apierrors.IsNotFound(err) {
		return "does not exist any more", nil
	}
	if apierrors.IsForbidden(err) {
		return "is out of Muster's reach", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading Secret %s/%s: %w", source.Namespace, source.Name, err)
	}
	if profile.SecretHash(content) != source.Digest {
		return "has changed", nil
	}
	return "", nil
}
