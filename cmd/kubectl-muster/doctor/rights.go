// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/pkg/apiserver/hostrights"
)

// rights checks, one by one, what the server's ServiceAccount may do.
func (d *Doctor) rights(ctx context.Context) []Finding {
	const check = "rights"
	deployments, err := d.deployments(ctx)
	if err != nil {
		return unknown(check, "the Deployment of Muster", err)
	}
	account, read := serviceAccount(deployments), sourceNamespaces(deployments)
	if len(read) > 0 {
		read = append(read, d.Namespace)
	}
	var findings []Finding
	for _, right := range hostrights.All() {
		for _, attributes := range right.Questions(d.Namespace, read) {
			allowed, err := d.allowed(ctx, account, attributes)
			if err != nil {
				return unknown(check, "what ServiceAccount "+account+" may do", err)
			}
			if !allowed {
				findings = append(findings, problem(check, fmt.Sprintf("ServiceAccount %s/%s may not %s: %s", d.Namespace, account, hostrights.Describe(attributes), right.Without),
					"grant it as the chart does, or artifacts/deploy/20-rbac.yaml"))
			}
		}
	}
	if len(findings) == 0 {
		return fine(check, "ServiceAccount %s/%s may do all that is needed", d.Namespace, account)
	}
	return findings
}

func serviceAccount(deployments []appsv1.Deployment) string {
	for i := range deployments {
		if name := deployments[i].Spec.Template.Spec.ServiceAccountName; name != "" {
			return name
		}
	}
	return "muster"
}

// sourceNamespaces are those of the server's flag; none means all.
func sourceNamespaces(deployments []appsv1.Deployment) []string {
	var namespaces []string
	for i := range deployments {
		for _, container := range deployments[i].Spec.Template.Spec.Containers {
			for _, argument := range container.Args {
				if list, ok := strings.CutPrefix(argument, "--source-namespaces="); ok {
					namespaces = append(namespaces, strings.Split(list, ",")...)
				}
			}
		}
	}
	return namespaces
}

func (d *Doctor) allowed(ctx context.Context, account string, attributes authorizationv1.ResourceAttributes) (bool, error) {
	review, err := d.Host.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User:               "system:serviceaccount:" + d.Namespace + ":" + account,
			Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + d.Namespace, "system:authenticated"},
			ResourceAttributes: &attributes,
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}
