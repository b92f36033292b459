// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package hostcluster finds the host cluster, for all commands in the same way.
package hostcluster

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Config says how to reach the host cluster: as the kubeconfig file says or, without
// one, as the ServiceAccount of the Pod.
func Config(kubeconfig string) (*rest.Config, error) {
	var config *rest.Config
	var err error
	if kubeconfig == "" {
		config, err = rest.InClusterConfig()
	} else {
		config, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	}
	if err != nil {
		return nil, fmt.Errorf("no way to the host cluster, give one with --kubeconfig or run in a Pod: %w", err)
	}
	config.UserAgent = rest.DefaultKubernetesUserAgent()
	return config, nil
}
