// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// Registration is a cluster as users register it with Muster.
type Registration struct {
	Namespace, Name string
	Labels          map[string]string
	Kubeconfig      []byte
}

// KubeconfigSecret is the name, by upstream's convention, of the Secret with a
// cluster's kubeconfig.
func KubeconfigSecret(cluster string) string { return cluster + "-sveltos-kubeconfig" }

// Register applies a Namespace, the Secret with the kubeconfig and a
// SveltosCluster. Registering again replaces the kubeconfig and the labels.
func (f *Fleet) Register(ctx context.Context, r Registration) error {
	meta := metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Name, Labels: r.Labels}
	objects := []any{
		&corev1.Namespace{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"},
			ObjectMeta: metav1.ObjectMeta{Name: r.Namespace},
		},
		&corev1.Secret{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: KubeconfigSecret(r.Name)},
			Data:       map[string][]byte{"kubeconfig": r.Kubeconfig},
		},
		map[string]any{
			"apiVersion": "lib.projectsveltos.io/v1beta1",
			"kind":       "SveltosCluster",
			"metadata":   meta,
		},
	}
	var manifest strings.Builder
	for _, object := range objects {
		data, err := yaml.Marshal(object)
		if err != nil {
			return fmt.Errorf("encoding the registration of %s: %w", r.Name, err)
		}
		manifest.WriteString("---\n")
		manifest.Write(data)
	}
	if _, err := f.Host.Kubectl().Input(ctx, manifest.String(), "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil {
		return fmt.Errorf("registering %s/%s: %w", r.Namespace, r.Name, err)
	}
	return nil
}

// RegisterManaged registers a managed control plane of the fleet under its
// own name, as administrator and through its proxy.
func (f *Fleet) RegisterManaged(ctx context.Context, namespace, cluster string, labels map[string]string) error {
	data, err := f.Managed(cluster).Kubeconfig(User{Name: "muster", Groups: []string{adminGroup}})
	if err != nil {
		return err
	}
	return f.Register(ctx, Registration{Namespace: namespace, Name: cluster, Labels: labels, Kubeconfig: data})
}
