// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package reload

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/klog/v2"
)

const (
	// group is that of the kinds that are restarted.
	group = "apps"
	// Variable is the environment variable whose change restarts Pods, as for Sveltos.
	Variable = "PROJECTSVELTOS"
	// Annotation on a workload is what it was last seen with: a hash of which objects it
	// uses, a dot, and a hash of what is in them.
	Annotation = "muster.projectsveltos.io/reload"
	// fieldManager is the manager of what is changed here, which is not what a profile
	// applies.
	fieldManager = "muster-reloader"
)

// resources are the kinds that are restarted.
var resources = map[string]string{"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}

// hand reads and restarts the workloads of one cluster.
type hand struct {
	client dynamic.Interface
}

func (h hand) of(kind, namespace string) dynamic.ResourceInterface {
	return h.client.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: resources[kind]}).Namespace(namespace)
}

// find lists the workloads of all targets: those of a release are found by what Helm
// writes on them.
func (h hand) find(ctx context.Context, targets []Targets) ([]Workload, error) {
	var found []Workload
	for _, t := range targets {
		found = append(found, t.Workloads...)
		for _, release := range t.Releases {
			for kind := range resources {
				list, err := h.of(kind, release.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=Helm"})
				if err != nil {
					return nil, fmt.Errorf("listing the %ss of %s: %w", kind, release, err)
				}
				for i := range list.Items {
					by := list.Items[i].GetAnnotations()
					if by["meta.helm.sh/release-name"] == release.Name && by["meta.helm.sh/release-namespace"] == release.Namespace {
						found = append(found, Workload{kind, release.Namespace, list.Items[i].GetName()})
					}
				}
			}
		}
	}
	slices.SortFunc(found, func(a, b Workload) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return slices.Compact(found), nil
}

// reload restarts a workload if what is in the objects that it uses has changed, and
// returns which objects that are. One that uses others than before was changed itself,
// which restarts it as it is.
func (h hand) reload(ctx context.Context, w Workload) ([]used, error) {
	object, err := h.of(w.Kind, w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s %s/%s: %w", w.Kind, w.Namespace, w.Name, err)
	}
	pods, err := template(object)
	if err != nil {
		return nil, fmt.Errorf("reading %s %s/%s: %w", w.Kind, w.Namespace, w.Name, err)
	}
	uses := usedBy(w.Namespace, pods)
	if len(uses) == 0 || !object.GetDeletionTimestamp().IsZero() {
		return uses, nil
	}
	which, what, err := h.hashes(ctx, uses)
	if err != nil {
		return nil, err
	}
	seenWhich, seenWhat, _ := strings.Cut(object.GetAnnotations()[Annotation], ".")
	if seenWhich == which && seenWhat == what {
		return uses, nil
	}
	restart := seenWhich == which
	if err := h.patch(ctx, w, object, pods, which, what, restart); err != nil {
		return nil, err
	}
	if restart {
		klog.FromContext(ctx).Info("Restarted a workload, since what it uses has changed", "kind", w.Kind, "workload", klog.KRef(w.Namespace, w.Name))
	}
	return uses, nil
}

// patch notes what a workload is seen with now, and restarts it.
func (h hand) patch(ctx context.Context, w Workload, object *unstructured.Unstructured, pods *corev1.PodSpec, which, what string, restart bool) error {
	patch := map[string]any{"metadata": map[string]any{
		// Decided on this version and on no other.
		"resourceVersion": object.GetResourceVersion(),
		"annotations":     map[string]any{Annotation: which + "." + what},
	}}
	if restart {
		var containers []any
		for i := range pods.Containers {
			containers = append(containers, map[string]any{
				"name": pods.Containers[i].Name,
				"env":  []any{map[string]any{"name": Variable, "value": what}},
			})
		}
		patch["spec"] = map[string]any{"template": map[string]any{"spec": map[string]any{"containers": containers}}}
	}
	body, err := json.Marshal(patch)
	if err != nil {
		return fmt.Errorf("encoding a patch: %w", err)
	}
	_, err = h.of(w.Kind, w.Namespace).Patch(ctx, w.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("restarting %s %s/%s: %w", w.Kind, w.Namespace, w.Name, err)
	}
	return nil
}

// hashes are of which objects are used, and of what is in them. One that is not there is
// empty.
func (h hand) hashes(ctx context.Context, uses []used) (which, what string, err error) {
	names, contents := sha256.New(), sha256.New()
	for _, u := range uses {
		fmt.Fprintf(names, "%s %s\n", u.kind, u.name)
		resource := corev1.SchemeGroupVersion.WithResource("configmaps")
		if u.kind == "Secret" {
			resource.Resource = "secrets"
		}
		object, err := h.client.Resource(resource).Namespace(u.namespace).Get(ctx, u.name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return "", "", fmt.Errorf("reading %s %s/%s: %w", u.kind, u.namespace, u.name, err)
		}
		var data []byte
		if err == nil {
			// Maps are encoded in the order of their keys.
			if data, err = json.Marshal([]any{object.Object["data"], object.Object["binaryData"]}); err != nil {
				return "", "", fmt.Errorf("encoding %s %s/%s: %w", u.kind, u.namespace, u.name, err)
			}
		}
		sum := sha256.Sum256(data)
		fmt.Fprintf(contents, "%s %s %x\n", u.kind, u.name, sum)
	}
	return short(names.Sum(nil)), short(contents.Sum(nil)), nil
}

func short(sum []byte) string { return hex.EncodeToString(sum[:16]) }

var errNoTemplate = errors.New("it has no template of Pods")

// template is the template of a workload's Pods.
func template(object *unstructured.Unstructured) (*corev1.PodSpec, error) {
	content, found, err := unstructured.NestedMap(object.Object, "spec", "template", "spec")
	if err != nil || !found {
		return nil, errNoTemplate
	}
	pods := &corev1.PodSpec{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, pods); err != nil {
		return nil, fmt.Errorf("its template of Pods cannot be read: %w", err)
	}
	return pods, nil
}

// usedBy are the ConfigMaps and Secrets that Pods mount or take variables from, each once
// and in a fixed order.
func usedBy(namespace string, pods *corev1.PodSpec) []used {
	var uses []used
	add := func(kind, name string) {
		if name != "" {
			uses = append(uses, used{kind, namespace, name})
		}
	}
	for i := range pods.Volumes {
		volume := &pods.Volumes[i]
		if volume.ConfigMap != nil {
			add("ConfigMap", volume.ConfigMap.Name)
		}
		if volume.Secret != nil {
			add("Secret", volume.Secret.SecretName)
		}
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			if source.ConfigMap != nil {
				add("ConfigMap", source.ConfigMap.Name)
			}
			if source.Secret != nil {
				add("Secret", source.Secret.Name)
			}
		}
	}
	for _, container := range slices.Concat(pods.InitContainers, pods.Containers) {
		for _, from := range container.EnvFrom {
			if from.ConfigMapRef != nil {
				add("ConfigMap", from.ConfigMapRef.Name)
			}
			if from.SecretRef != nil {
				add("Secret", from.SecretRef.Name)
			}
		}
		for _, env := range container.Env {
			if env.ValueFrom != nil && env.ValueFrom.ConfigMapKeyRef != nil {
				add("ConfigMap", env.ValueFrom.ConfigMapKeyRef.Name)
			}
			if env.ValueFrom != nil && env.ValueFrom.SecretKeyRef != nil {
				add("Secret", env.ValueFrom.SecretKeyRef.Name)
			}
		}
	}
	slices.SortFunc(uses, func(a, b used) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name)) })
	return slices.Compact(uses)
}
