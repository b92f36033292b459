// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/muster-project/muster/pkg/deploy/live"
	"github.com/muster-project/muster/pkg/fleet"
)

const (
	// discoveryPause is the pause between two looks for a kind that its CRD has
	// established: discovery is aggregated behind it, and can't be watched.
	discoveryPause = 50 * time.Millisecond
	// definitionTimeout is how long Helm waits for the CRDs of a chart.
	definitionTimeout = time.Minute
	// readyAgain is how often the readiness of an object is looked at although the
	// object does not change: that of a Deployment is its ReplicaSet's as well.
	readyAgain = 10 * time.Second
	// troubleMost is how many looks in a row at an object may fail for reasons that
	// pass, with troublePause between them, before a wait ends with that.
	troubleMost  = 30
	troublePause = time.Second
)

// Wait waits until objects are ready, by watch; what ready means Helm's own checker
// says. Jobs, and kinds that it does not know, are ready at once.
func (c *client) Wait(resources kube.ResourceList, timeout time.Duration) error {
	return c.awaitReady(resources, timeout, false)
}

// WaitWithJobs is Wait, and waits until Jobs are complete.
func (c *client) WaitWithJobs(resources kube.ResourceList, timeout time.Duration) error {
	return c.awaitReady(resources, timeout, true)
}

// awaitReady gives up when the profile has changed meanwhile: what it waits for may
// never come, and the change may be what makes it come.
func (c *client) awaitReady(resources kube.ResourceList, timeout time.Duration, jobs bool) error {
	current, end := fleet.UntilSuperseded(c.ctx)
	defer end()
	ctx, cancel := context.WithTimeout(current, timeout)
	defer cancel()
	for _, info := range resources {
		var err error
		switch kind := info.Mapping.GroupVersionKind; {
		case isDefinition(info):
			err = c.awaitCRD(ctx, info)
		case kind.Group == "batch" && kind.Kind == "Job":
			if jobs {
				err = c.await(ctx, info, jobEnded)
			}
		case isChecked(kind):
			err = c.awaitChecked(ctx, info)
		}
		if err != nil && errors.Is(context.Cause(current), fleet.ErrSuperseded) {
			err = fleet.ErrSuperseded
		}
		if err != nil {
			return fmt.Errorf("waiting for %s to be ready: %w", describe(info), c.overdue(err, timeout))
		}
	}
	return nil
}

// isChecked reports whether Helm's checker looks at objects of a kind.
func isChecked(kind schema.GroupVersionKind) bool {
	switch kind.Group {
	case "":
		switch kind.Kind {
		case "Pod", "PersistentVolumeClaim", "Service", "ReplicationController":
			return true
		}
	case "apps", "extensions":
		switch kind.Kind {
		case "Deployment", "DaemonSet", "StatefulSet", "ReplicaSet":
			return true
		}
	}
	return false
}

// describe names an object for errors.
func describe(info *resource.Info) string {
	kind := info.Mapping.GroupVersionKind.Kind
	if info.Namespaced() {
		return kind + " " + info.Namespace + "/" + info.Name
	}
	return kind + " " + info.Name
}

// overdue says how long was waited, if a wait has ended for that and not because the
// operation has.
func (c *client) overdue(err error, timeout time.Duration) error {
	if errors.Is(err, context.DeadlineExceeded) && c.ctx.Err() == nil {
		return fmt.Errorf("not within %s: %w", timeout, err)
	}
	return err
}

// awaitChecked waits until Helm's checker finds an object ready.
func (c *client) awaitChecked(ctx context.Context, info *resource.Info) error {
	why := ""
	checker := kube.NewReadyChecker(c.clientset, func(format string, args ...any) {
		why = fmt.Sprintf(format, args...)
	}, kube.PausedAsReady(true))
	check := func(found *unstructured.Unstructured) (bool, error) {
		if found == nil {
			why = "it does not exist"
			return false, nil
		}
		why = ""
		ready, err := checker.IsReady(ctx, info)
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return ready, err
	}
	for troubles := 0; ; {
		err := c.awaitFor(ctx, readyAgain, info, check)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return explained(ctx.Err(), why)
		case errors.Is(err, context.DeadlineExceeded):
			troubles = 0
			continue
		case !passes(err):
			return err
		}
		if troubles++; troubles > troubleMost {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(troublePause):
		}
	}
}

func explained(err error, why string) error {
	if why == "" {
		return err
	}
	return fmt.Errorf("%s: %w", strings.TrimSuffix(why, "."), err)
}

// passes reports whether an error may be another one when the same is asked again.
func passes(err error) bool {
	return apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsInternalError(err) || apierrors.IsServiceUnavailable(err) ||
		utilnet.IsConnectionReset(err) || utilnet.IsConnectionRefused(err) || utilnet.IsProbableEOF(err) || utilnet.IsTimeout(err)
}

// Create is Helm's, but for CRDs that are there already, over which Helm goes on:
// those of an attempt that failed because they were not established are not yet.
func (c *client) Create(resources kube.ResourceList) (*kube.Result, error) {
	result, err := c.Client.Create(resources)
	if !apierrors.IsAlreadyExists(err) {
		return result, err
	}
	for _, info := range resources {
		if !isDefinition(info) {
			return result, err
		}
	}
	if err := c.awaitCRDs(resources, definitionTimeout); err != nil {
		return nil, err
	}
	return result, err
}

// upgradeCRDs implements definitions.
func (c *client) upgradeCRDs(former, crds []string, timeout time.Duration) error {
	target, err := c.Build(strings.NewReader(strings.Join(crds, "\n---\n")), true)
	if err != nil {
		return err
	}
	original, err := c.Build(strings.NewReader(strings.Join(former, "\n---\n")), false)
	if err != nil {
		return err
	}
	// Without the intersection, definitions that the chart has no more would be
	// deleted, and all objects of their kinds with them.
	if _, err := c.Client.UpdateThreeWayMerge(original.Intersect(target), target, false); err != nil {
		return err
	}
	return c.awaitCRDs(target, timeout)
}

func isDefinition(info *resource.Info) bool {
	return info.Mapping.GroupVersionKind.Kind == "CustomResourceDefinition"
}

func (c *client) awaitCRDs(crds kube.ResourceList, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(c.ctx, timeout)
	defer cancel()
	for _, info := range crds {
		if !isDefinition(info) {
			continue
		}
		if err := c.awaitCRD(ctx, info); err != nil {
			return fmt.Errorf("waiting for %s: %w", describe(info), c.overdue(err, timeout))
		}
	}
	return nil
}

func (c *client) awaitCRD(ctx context.Context, info *resource.Info) error {
	if err := c.await(ctx, info, live.Established); err != nil {
		return fmt.Errorf("it is not established: %w", err)
	}
	if err := c.awaitDiscovery(ctx, info); err != nil {
		return fmt.Errorf("its kind is not served: %w", err)
	}
	return nil
}

// awaitDiscovery waits until a CRD's kind can be looked up.
func (c *client) awaitDiscovery(ctx context.Context, crd *resource.Info) error {
	object, err := toUnstructured(crd.Object)
	if err != nil {
		return err
	}
	group, _, _ := unstructured.NestedString(object.Object, "spec", "group")
	kind, _, _ := unstructured.NestedString(object.Object, "spec", "names", "kind")
	for {
		_, err := c.mapper.RESTMapping(schema.GroupKind{Group: group, Kind: kind})
		if err == nil || !meta.IsNoMatchError(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(discoveryPause):
		}
	}
}

// WaitForDelete waits until objects are gone.
func (c *client) WaitForDelete(resources kube.ResourceList, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(c.ctx, timeout)
	defer cancel()
	for _, info := range resources {
		err := c.await(ctx, info, func(found *unstructured.Unstructured) (bool, error) { return found == nil, nil })
		if err != nil {
			return fmt.Errorf("waiting for %s to be gone: %w", info.ObjectName(), err)
		}
	}
	return nil
}

// await waits until an object is as it should be. Other jobs for the cluster go on
// meanwhile.
func (c *client) await(ctx context.Context, info *resource.Info, reached func(*unstructured.Unstructured) (bool, error)) error {
	return live.Await(ctx, c.of(info), info.Name, func(found *unstructured.Unstructured) (bool, error) {
		done, err := reached(found)
		if !done && err == nil {
			fleet.StepAside(c.ctx)
		}
		return done, err
	})
}

// awaitFor is await, for a while.
func (c *client) awaitFor(ctx context.Context, while time.Duration, info *resource.Info, reached func(*unstructured.Unstructured) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, while)
	defer cancel()
	return c.await(ctx, info, reached)
}
