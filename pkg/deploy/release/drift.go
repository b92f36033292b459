// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"helm.sh/helm/v3/pkg/kube"
	helmrelease "helm.sh/helm/v3/pkg/release"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/muster-project/muster/pkg/deploy/live"
	"github.com/muster-project/muster/pkg/deploy/mask"
)

// ManagedBySelector selects the objects that Helm has made.
const ManagedBySelector = "app.kubernetes.io/managed-by=Helm"

// ErrNotDeployed says that a release is not there, or not as it should be: there is
// nothing that its objects could be compared with.
var ErrNotDeployed = errors.New("the release is not deployed any more")

// ObjectKey identifies an object of a release.
type ObjectKey struct {
	Group, Kind, Namespace, Name string
}

// ObjectState is an object of a release as it is in the cluster.
type ObjectState struct {
	ObjectKey
	UID             types.UID
	ResourceVersion string
	// Fields is a hash of the fields that Helm has in it; see live.Fields.
	Fields string
	// Ignored says that it is not to be checked for drift.
	Ignored bool
	// Changed says that it was not as the manifest says, and was made so.
	Changed bool
}

// Repair is what to do about a release's drift.
type Repair struct {
	Namespace, Name string
	// Only are the objects to compare; nil compares all.
	Only func(ObjectKey) bool
	// Excluded returns JSON pointers to fields of an object that others may change, and
	// Ignored whether they may change all of it. nil excludes and ignores nothing.
	Excluded func(*unstructured.Unstructured) []string
	Ignored  func(*unstructured.Unstructured) bool
	// Sensitive is as with Release.
	Sensitive []string
}

// Owner is the field manager of the objects of releases: Helm calls itself by the name of
// the program that it is in.
func Owner() live.Manager {
	name := kube.ManagedFieldsManager
	if name == "" {
		name = filepath.Base(os.Args[0])
	}
	return live.Manager{Name: name, Operation: metav1.ManagedFieldsOperationUpdate}
}

// Repair compares objects of a deployed release with its manifest, makes those that
// differ as it says, one by one, and returns how they are then. Fields that the
// manifest does not have are anybody's. The release gets no new revision. The error
// wraps ErrNotDeployed if there is nothing to compare with.
func (m *Manager) Repair(ctx context.Context, cluster Cluster, repair Repair) ([]ObjectState, error) {
	states, err := m.repair(ctx, cluster, repair)
	return states, mask.Error(err, repair.Sensitive)
}

func (m *Manager) repair(ctx context.Context, cluster Cluster, repair Repair) ([]ObjectState, error) {
	op, err := m.begin(ctx, cluster, Release{Namespace: repair.Namespace, Name: repair.Name, Sensitive: repair.Sensitive})
	if err != nil {
		return nil, err
	}
	deployed, err := op.deployed(repair.Name)
	if err != nil {
		return nil, err
	}
	if deployed == nil {
		return nil, ErrNotDeployed
	}
	objects, ok := op.helm.KubeClient.(*client)
	if !ok {
		return nil, errNoClient
	}
	states, err := objects.repair(deployed, repair)
	if err != nil {
		err = mask.Error(err, secretsIn(deployed))
	}
	return states, err
}

// deployed returns the newest revision of a release if it is the one that is deployed.
func (op *operation) deployed(name string) (*helmrelease.Release, error) {
	history, err := readHistory(op.helm.Releases, name)
	if err != nil || len(history) == 0 {
		return nil, err
	}
	if last := history[len(history)-1]; last.Info.Status == helmrelease.StatusDeployed {
		return last, nil
	}
	return nil, nil
}

func (c *client) repair(deployed *helmrelease.Release, repair Repair) ([]ObjectState, error) {
	resources, err := c.Build(strings.NewReader(deployed.Manifest), false)
	if err != nil {
		return nil, err
	}
	var states []ObjectState
	var errs []error
	for _, info := range resources {
		if repair.Only != nil && !repair.Only(keyOf(info)) {
			continue
		}
		state, err := c.repairOne(info, repair)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", info.ObjectName(), err))
			continue
		}
		states = append(states, state)
	}
	return states, errors.Join(errs...)
}

func keyOf(info *resource.Info) ObjectKey {
	gvk := info.Mapping.GroupVersionKind
	return ObjectKey{Group: gvk.Group, Kind: gvk.Kind, Namespace: info.Namespace, Name: info.Name}
}

// repairOne applies the manifest of one object as an upgrade to the same revision would.
func (c *client) repairOne(info *resource.Info, repair Repair) (ObjectState, error) {
	wanted, err := toUnstructured(info.Object)
	if err != nil {
		return ObjectState{}, err
	}
	wanted = wanted.DeepCopy()
	if repair.ignores(wanted) {
		return ObjectState{ObjectKey: keyOf(info), Ignored: true}, nil
	}
	found, err := findObject(info)
	if err != nil {
		return ObjectState{}, err
	}
	switch {
	case found == nil: // one that is made anew needs all of its manifest
	case repair.ignores(found):
		return stateOf(info, found, true), nil
	case repair.Excluded != nil:
		live.Without(wanted.Object, repair.Excluded(wanted))
	}
	original, target := *info, *info
	original.Object, target.Object = wanted, wanted.DeepCopy()
	if _, err := c.Client.UpdateThreeWayMerge(kube.ResourceList{&original}, kube.ResourceList{&target}, false); err != nil {
		return ObjectState{}, err
	}
	// Helm leaves what the server has answered in what it was given.
	repaired, err := toUnstructured(target.Object)
	if err != nil {
		return ObjectState{}, err
	}
	state := stateOf(info, repaired, false)
	state.Changed = found == nil || found.GetUID() != state.UID || found.GetResourceVersion() != state.ResourceVersion
	return state, nil
}

func (r Repair) ignores(object *unstructured.Unstructured) bool {
	return r.Ignored != nil && r.Ignored(object)
}

// findObject reads an object, nil if there is none.
func findObject(info *resource.Info) (*unstructured.Unstructured, error) {
	found, err := resource.NewHelper(info.Client, info.Mapping).Get(info.Namespace, info.Name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return toUnstructured(found)
}

func stateOf(info *resource.Info, found *unstructured.Unstructured, ignored bool) ObjectState {
	return ObjectState{
		ObjectKey: keyOf(info), UID: found.GetUID(), ResourceVersion: found.GetResourceVersion(),
		Fields: live.Fields(found, Owner()), Ignored: ignored,
	}
}
