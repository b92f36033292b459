// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"errors"
	"net/http"

	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/server/healthz"
)

// callersKnown keeps traffic away until the host's aggregator is recognised. Its
// authority comes from a ConfigMap of the host, by a watch that begins when the
// server serves; whatever the aggregator sends before is taken for anonymous and
// refused. aggregator may be nil.
func callersKnown(aggregator *authenticatorfactory.RequestHeaderConfig) healthz.HealthChecker {
	return healthz.NamedCheck("aggregator-authority", func(*http.Request) error {
		if aggregator == nil {
			return nil
		}
		if _, ok := aggregator.CAContentProvider.VerifyOptions(); !ok || len(aggregator.UsernameHeaders.Value()) == 0 {
			return errors.New("ConfigMap kube-system/extension-apiserver-authentication, by which the host's aggregator is recognised, has not been read yet or does not say how")
		}
		return nil
	})
}
