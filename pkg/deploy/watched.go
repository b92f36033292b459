// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"cmp"
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/live"
	"github.com/muster-project/muster/pkg/deploy/release"
)

// DriftIgnoreAnnotation on a deployed object has it left as others make it, until
// its manifest changes.
const DriftIgnoreAnnotation = "projectsveltos.io/driftDetectionIgnore"

// Applied is the field manager of what is applied.
func Applied() live.Manager {
	return live.Manager{Name: FieldManager, Operation: metav1.ManagedFieldsOperationApply}
}

// Watch is what a pass has to know of drift, which is what others have changed in
// what was deployed.
type Watch struct {
	// On has a pass make good again what has drifted, and tell of releases what there
	// is of them. Without it the rest means nothing.
	On bool
	// Objects have drifted: each is applied again, alone.
	Objects map[inventory.ObjectKey]bool
	// Releases are those whose objects are known from an earlier pass, and which of
	// these have drifted. All objects of any other release are compared with its
	// manifest.
	Releases map[inventory.ReleaseKey]map[inventory.ObjectKey]bool
}

// drifted returns the objects of a record that are to be applied again: those that have
// drifted, and those of which nobody knows how they were applied.
func (w Watch) drifted(own *inventory.Record) map[inventory.ObjectKey]bool {
	if !w.On {
		return nil
	}
	again := map[inventory.ObjectKey]bool{}
	for _, o := range own.Objects {
		if w.Objects[o.ObjectKey] || o.Fields == "" {
			again[o.ObjectKey] = true
		}
	}
	return again
}

// Releases looks at releases that are there; *release.Manager does.
type Releases interface {
	// Repair makes those objects of a deployed release that differ from its manifest
	// as it says, and returns how the objects are then; see release.Manager.
	Repair(ctx context.Context, cluster release.Cluster, repair release.Repair) ([]release.ObjectState, error)
	// Preview says what Deploy would do; see release.Manager.
	Preview(ctx context.Context, cluster release.Cluster, release release.Release) (release.Preview, error)
	// Manifest returns the objects of a deployed release, none if there is none.
	Manifest(ctx context.Context, cluster release.Cluster, namespace, name string) ([]*unstructured.Unstructured, error)
}

// watchRelease brings the objects of a release that others have changed back to its
// manifest, and notes how they are. The release itself stays what it is: its history
// tells of changes to what was asked for.
func (p *pass) watchRelease(ctx context.Context, s releaseStep) error {
	if !p.request.Watch.On || s.chart.Uninstall || s.verdict != verdictKeep && s.verdict != verdictApply {
		return nil
	}
	drifted, known := p.request.Watch.Releases[s.key]
	known = known && s.verdict == verdictKeep
	if known && len(drifted) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("looking for drift in %s on %s: %w", s.key, p.cluster.Ref, err)
	}
	repair := release.Repair{
		Namespace: s.key.Namespace, Name: s.key.Name, Sensitive: s.chart.Sensitive,
		Excluded: p.request.Excluded, Ignored: ignoresDrift,
	}
	if known {
		repair.Only = func(o release.ObjectKey) bool { return drifted[ObjectKeyOf(o)] }
	}
	states, err := p.deployer.options.Releases.Repair(ctx, p.cluster.forRelease(), repair)
	if err != nil {
		return fmt.Errorf("undoing drift in %s on %s: %w", s.key, p.cluster.Ref, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watched == nil {
		p.watched = map[inventory.ReleaseKey][]release.ObjectState{}
	}
	p.watched[s.key] = states
	return nil
}

// ObjectKeyOf is the inventory's key for an object of a release.
func ObjectKeyOf(o release.ObjectKey) inventory.ObjectKey {
	return inventory.ObjectKey{Group: o.Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
}

// ignoresDrift reports whether an object asks not to be checked.
func ignoresDrift(object *unstructured.Unstructured) bool {
	_, ignores := object.GetAnnotations()[DriftIgnoreAnnotation]
	return ignores
}

// fieldsOf is what an entry keeps of the fields that are managed in an object.
func fieldsOf(object metav1.Object) string {
	return cmp.Or(live.Fields(object, Applied()), inventory.NoFields)
}
