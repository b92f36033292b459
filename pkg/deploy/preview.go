// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/mask"
)

// previewsInFlight is how many objects of a preview are looked at beside each other.
const previewsInFlight = 8

// Action is what would become of something, in upstream's words.
type Action string

// Actions on objects; those on releases are Delete, Conflict and None as well.
const (
	ActionNone     Action = "No Action"
	ActionCreate   Action = "Create"
	ActionUpdate   Action = "Update"
	ActionDelete   Action = "Delete"
	ActionConflict Action = "Conflict"
	// ActionError is of what could not be done.
	ActionError Action = "Error"

	// ActionInstall, ActionUpgrade and ActionUpdateValues are of releases.
	ActionInstall      Action = "Install"
	ActionUpgrade      Action = "Upgrade"
	ActionUpdateValues Action = "Update Values"
)

// ObjectChange is what would become of an object.
type ObjectChange struct {
	inventory.ObjectKey `json:",inline"`

	Version string  `json:"version,omitempty"`
	Feature Feature `json:"feature"`
	Action  Action  `json:"action"`
	// Message is a unified diff without Secrets, or says why.
	Message string `json:"message,omitempty"`
	// LastAppliedTime is zero for what was never applied.
	LastAppliedTime metav1.Time `json:"lastAppliedTime,omitzero"`
	IgnoreDrift     bool        `json:"ignoreDrift,omitempty"`
}

// ReleaseChange is what would become of a release.
type ReleaseChange struct {
	inventory.ReleaseKey `json:",inline"`

	Chart   string `json:"chart,omitempty"`
	Version string `json:"version,omitempty"`
	Action  Action `json:"action"`
	Message string `json:"message,omitempty"`
}

// Preview is what a pass would change.
type Preview struct {
	// Objects are those of the profile's lists in their order, those of its charts
	// (Feature Helm), and then what would be removed. What stays as it is is there too.
	Objects  []ObjectChange  `json:"objects,omitempty"`
	Releases []ReleaseChange `json:"releases,omitempty"`
	// Warnings are what the cluster's API server and its webhooks warn of.
	Warnings []string `json:"warnings,omitempty"`
	// Failure says why a list could not be rendered to its end, empty if all could.
	Failure string `json:"failure,omitempty"`
}

// Changes reports whether anything would change, or cannot be said.
func (p Preview) Changes() bool {
	return p.Failure != "" ||
		slices.ContainsFunc(p.Objects, func(o ObjectChange) bool { return o.Action != ActionNone }) ||
		slices.ContainsFunc(p.Releases, func(r ReleaseChange) bool { return r.Action != ActionNone })
}

// Add adds what would change on another cluster for the same profile.
func (p *Preview) Add(other Preview) {
	p.Objects = append(p.Objects, other.Objects...)
	p.Releases = append(p.Releases, other.Releases...)
	for _, warning := range other.Warnings {
		if !slices.Contains(p.Warnings, warning) {
			p.Warnings = append(p.Warnings, warning)
		}
	}
	if p.Failure == "" {
		p.Failure = other.Failure
	}
}

// previewer makes one preview.
type previewer struct {
	*pass
	hearing  sync.Mutex // guards warnings
	warnings []string
}

// Preview says what Deploy would change now. It writes nothing, to the cluster or
// anywhere else: what it asks the cluster are reads and dry runs, which pass a closed
// write gate, so that any replica can answer.
func (d *Deployer) Preview(ctx context.Context, cluster Cluster, request Request) (Preview, error) {
	v := &previewer{}
	cluster, err := v.listening(cluster)
	if err != nil {
		return Preview{}, err
	}
	own, others, err := d.peek(ctx, cluster, request.Owner.Key())
	if err != nil {
		return Preview{}, err
	}
	v.pass = &pass{deployer: d, cluster: cluster, request: request}
	v.kinds = newKinds(cluster, own, request.Objects)
	objects, releases := v.resolve()
	base := &inventory.Record{Owner: request.Owner}
	if own != nil {
		base = own.Clone()
	}
	base.Cluster, base.Owner = cluster.Ref, request.Owner
	v.plan = makePlan(planInput{
		own: base, others: others, objects: objects, releases: releases,
		stopAtConflict: !request.ContinueOnConflict && !request.ContinueOnError,
		// Whatever the record says: what is there is looked at.
		reapply: true,
	})
	return v.run(ctx)
}

// PreviewWithdrawal says what Withdraw would change now, and writes nothing.
func (d *Deployer) PreviewWithdrawal(ctx context.Context, cluster Cluster, owner inventory.Owner, behavior Behavior) (Preview, error) {
	preview, err := d.Preview(ctx, cluster, Request{Owner: owner})
	if err != nil || behavior != LeavePolicies {
		return preview, err
	}
	for i := range preview.Objects {
		if o := &preview.Objects[i]; o.Action == ActionDelete {
			o.Action, o.Message = ActionNone, "stays, owned by nobody"
		}
	}
	for i := range preview.Releases {
		if r := &preview.Releases[i]; r.Action == ActionDelete {
			r.Action, r.Message = ActionNone, "stays, owned by nobody"
		}
	}
	return preview, nil
}

// peek returns the settled records of a cluster as load does, and writes nothing.
func (d *Deployer) peek(ctx context.Context, cluster Cluster, owner inventory.OwnerKey) (own *inventory.Record, others []*inventory.Record, err error) {
	records, err := d.options.Inventory.ForCluster(ctx, cluster.Ref)
	if err != nil {
		return nil, nil, err
	}
	records = slices.DeleteFunc(records, func(r *inventory.Record) bool { return !r.BoundTo(cluster.UID, cluster.ID) })
	_ = settle(records) // in memory: what it returns is what to write
	for _, r := range records {
		if r.Owner.Key() == owner {
			own = r
		} else {
			others = append(others, r)
		}
	}
	return own, others, nil
}

// listening returns the cluster with a client whose warnings are noted.
func (v *previewer) listening(cluster Cluster) (Cluster, error) {
	if cluster.Config == nil {
		return cluster, nil
	}
	config := rest.CopyConfig(cluster.Config)
	config.WarningHandler, config.WarningHandlerWithContext = nil, warnings{v}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return cluster, fmt.Errorf("making a client for %s: %w", cluster.Ref, err)
	}
	cluster.Dynamic = client
	return cluster, nil
}

// warnings notes each warning once.
type warnings struct{ *previewer }

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (w warnings) HandleWarningHeaderWithContext(_ context.Context, code int, _ string, text string) {
	const miscellaneous = 299 // the only code that is shown to people
	if code != miscellaneous || text == "" {
		return
	}
	w.hearing.Lock()
	defer w.hearing.Unlock()
	if !slices.Contains(w.previewer.warnings, text) {
		w.previewer.warnings = append(w.previewer.warnings, text)
	}
}

// run looks at everything that is planned.
func (v *previewer) run(ctx context.Context) (Preview, error) {
	out := Preview{Objects: make([]ObjectChange, len(v.plan.objects)), Failure: v.failure()}
	group, grouped := errgroup.WithContext(ctx)
	group.SetLimit(previewsInFlight)
	for i := range v.plan.objects {
		group.Go(func() (err error) {
			out.Objects[i], err = v.object(grouped, v.plan.objects[i])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Preview{}, err
	}
	if err := v.previewReleases(ctx, &out); err != nil {
		return Preview{}, err
	}
	if err := v.previewRemovals(ctx, &out); err != nil {
		return Preview{}, err
	}
	out.Warnings = v.heard()
	return out, nil
}

// heard are the warnings, without what is in Secrets of the request.
func (v *previewer) heard() []string {
	var secrets []string
	for _, s := range v.plan.objects {
		secrets = append(secrets, secretsOf(s)...)
	}
	v.hearing.Lock()
	defer v.hearing.Unlock()
	slices.Sort(v.warnings)
	for i, text := range v.warnings {
		v.warnings[i] = mask.Text(text, secrets)
	}
	return v.warnings
}

// failure joins what rendering left out.
func (v *previewer) failure() string {
	var failed []string
	for _, feature := range []Feature{Resources, Helm, Kustomize} {
		if err := v.results[feature].Err; err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", feature, err))
		}
	}
	return strings.Join(failed, "; ")
}
