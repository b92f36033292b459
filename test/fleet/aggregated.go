// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"
)

// aggregated checks that the host finds every APIService available and that
// its answers really come from there.
func (m *Muster) aggregated() (func(context.Context) error, error) {
	config, err := m.host.RESTConfig()
	if err != nil {
		return nil, err
	}
	client, err := clientset.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the host: %w", err)
	}
	return func(ctx context.Context) error {
		list, err := client.ApiregistrationV1().APIServices().List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=muster"})
		if err != nil {
			return err
		}
		waiting := sets.New(m.shipped.apiServices...)
		for i := range list.Items {
			service := &list.Items[i]
			if err := available(service); err != nil {
				return err
			}
			path := "/apis/" + service.Spec.Group + "/" + service.Spec.Version
			if err := client.RESTClient().Get().AbsPath(path).Do(ctx).Error(); err != nil {
				return fmt.Errorf("%s through the host: %w", path, err)
			}
			waiting.Delete(service.Name)
		}
		if waiting.Len() > 0 {
			return fmt.Errorf("no APIService %s", strings.Join(sets.List(waiting), ", "))
		}
		return nil
	}, nil
}

func available(service *apiregistrationv1.APIService) error {
	for _, condition := range service.Status.Conditions {
		if condition.Type != apiregistrationv1.Available {
			continue
		}
		if condition.Status == apiregistrationv1.ConditionTrue {
			return nil
		}
		return fmt.Errorf("APIService %s is not available: %s: %s", service.Name, condition.Reason, condition.Message)
	}
	return fmt.Errorf("APIService %s has no condition yet", service.Name)
}

// inOrder makes one check of several, and does not repeat those that have
// succeeded.
func inOrder(checks ...func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for len(checks) > 0 {
			if err := checks[0](ctx); err != nil {
				return err
			}
			checks = checks[1:]
		}
		return nil
	}
}
