// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

// stateKey is where the ConfigMap has the state, as JSON.
const stateKey = "state"

// ConfigMap keeps the state in a ConfigMap of the host cluster, which may exist already without one: a
// chart that owns it removes it together with all else.
type ConfigMap struct {
	Client          typedcorev1.ConfigMapsGetter
	Namespace, Name string
}

var _ Bootstrapped = (*ConfigMap)(nil)

// Get implements Bootstrapped.
func (c *ConfigMap) Get(ctx context.Context) (State, error) {
	object, err := c.Client.ConfigMaps(c.Namespace).Get(ctx, c.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return State{}, nil
	}
	if err != nil {
		return State{}, c.explain("read", err)
	}
	state := State{Version: object.ResourceVersion}
	if raw := object.Data[stateKey]; raw != "" {
		if err := json.Unmarshal([]byte(raw), &state); err != nil {
			return State{}, fmt.Errorf("%w: ConfigMap %s/%s, key %s: %w", ErrRefused, c.Namespace, c.Name, stateKey, err)
		}
	}
	return state, nil
}

// Set implements Bootstrapped.
func (c *ConfigMap) Set(ctx context.Context, state State) error {
	raw, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the cluster's state: %w", err)
	}
	if state.Version == "" {
		_, err := c.Client.ConfigMaps(c.Namespace).Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name},
			Data:       map[string]string{stateKey: string(raw)},
		}, metav1.CreateOptions{})
		return c.explain("create", err)
	}
	object, err := c.Client.ConfigMaps(c.Namespace).Get(ctx, c.Name, metav1.GetOptions{})
	if err != nil {
		return c.explain("read", err)
	}
	if object.ResourceVersion != state.Version {
		return ErrChanged
	}
	if object.Data == nil {
		object.Data = map[string]string{}
	}
	object.Data[stateKey] = string(raw)
	_, err = c.Client.ConfigMaps(c.Namespace).Update(ctx, object, metav1.UpdateOptions{})
	return c.explain("update", err)
}

// explain is nil for nil.
func (c *ConfigMap) explain(verb string, err error) error {
	switch {
	case err == nil:
		return nil
	case verb == "create" && apierrors.IsAlreadyExists(err), apierrors.IsConflict(err), verb != "create" && apierrors.IsNotFound(err):
		return ErrChanged
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err), apierrors.IsNotFound(err), apierrors.IsInvalid(err):
		return fmt.Errorf("%w: %s ConfigMap %s/%s: %w", ErrRefused, verb, c.Namespace, c.Name, err)
	default:
		return fmt.Errorf("%s ConfigMap %s/%s: %w", verb, c.Namespace, c.Name, err)
	}
}
