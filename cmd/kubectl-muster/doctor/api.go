// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apiserver/hostrights"
)

// soon is when a certificate should have been renewed long before.
const soon = 30 * 24 * time.Hour

var customResourceDefinitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

func groups() []string { return []string{lib.GroupName, config.GroupName} }

// hostVersion checks that the host is new enough.
func (d *Doctor) hostVersion(context.Context) []Finding {
	const check, oldest = "host version", "1.32.0"
	info, err := d.Host.Discovery().ServerVersion()
	if err != nil {
		return []Finding{problem(check, fmt.Sprintf("the host cluster does not answer: %v", err), "check the kubeconfig and the network")}
	}
	parsed, err := version.ParseGeneric(info.GitVersion)
	if err != nil {
		return unknown(check, "the host's version "+info.GitVersion, err)
	}
	if !parsed.AtLeast(version.MustParseGeneric(oldest)) {
		return []Finding{problem(check, "the host is Kubernetes "+info.GitVersion, "upgrade it to 1.32 or later")}
	}
	return fine(check, "the host is Kubernetes %s", info.GitVersion)
}

// definitions checks that nobody else defines our kinds.
func (d *Doctor) definitions(ctx context.Context) []Finding {
	const check = "definitions"
	list, err := d.Metadata.Resource(customResourceDefinitions).List(ctx, metav1.ListOptions{})
	if err != nil {
		return unknown(check, "the host's CustomResourceDefinitions", err)
	}
	var found []string
	for i := range list.Items {
		if _, group, ok := strings.Cut(list.Items[i].Name, "."); ok && slices.Contains(groups(), group) {
			found = append(found, list.Items[i].Name)
		}
	}
	if len(found) == 0 {
		return fine(check, "no CustomResourceDefinition stands in the way")
	}
	return []Finding{problem(check, fmt.Sprintf("%d CustomResourceDefinitions of Muster's groups are installed, Sveltos' most likely: %s", len(found), strings.Join(found, ", ")),
		`move to Muster as "kubectl muster doctor --migration" says`)}
}

// registrations checks the four APIServices.
func (d *Doctor) registrations(ctx context.Context) []Finding {
	const check = "apiservices"
	var findings []Finding
	for _, name := range hostrights.RegistrationNames() {
		registration, err := d.Aggregator.ApiregistrationV1().APIServices().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			findings = append(findings, problem(check, "APIService "+name+" is missing", "install the chart again, or apply artifacts/deploy"))
			continue
		case err != nil:
			return unknown(check, "APIService "+name, err)
		case !d.ours(registration):
			findings = append(findings, problem(check, "APIService "+name+" does not lead to Service "+d.Namespace+"/"+d.Service,
				"delete it and what it belongs to, or name Muster's Service with --namespace and --service"))
			continue
		}
		if available := condition(registration, apiregistration.Available); available == nil || available.Status != apiregistration.ConditionTrue {
			message := "nothing is known of it yet"
			if available != nil {
				message = available.Message
			}
			findings = append(findings, problem(check, "APIService "+name+" is not available: "+message,
				"see the findings on pods and certificate; the host's control plane has to reach the Pods' port"))
		}
	}
	if len(findings) == 0 {
		return fine(check, "all four APIServices are available")
	}
	return findings
}

func condition(registration *apiregistration.APIService, wanted apiregistration.APIServiceConditionType) *apiregistration.APIServiceCondition {
	for i := range registration.Status.Conditions {
		if registration.Status.Conditions[i].Type == wanted {
			return &registration.Status.Conditions[i]
		}
	}
	return nil
}

// certificate checks that the APIServices trust what is served.
func (d *Doctor) certificate(ctx context.Context) []Finding {
	const check = "certificate"
	secret, err := d.Host.CoreV1().Secrets(d.Namespace).Get(ctx, hostrights.ServingSecret, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return []Finding{warning(check, "Secret "+d.Namespace+"/"+hostrights.ServingSecret+" does not exist",
			"nothing, if Muster was given certificate files; otherwise see the log of its Pods for why it cannot write the Secret")}
	}
	if err != nil {
		return unknown(check, "Secret "+d.Namespace+"/"+hostrights.ServingSecret, err)
	}
	served := parseCertificate(secret.Data[corev1.TLSCertKey])
	if served == nil {
		return []Finding{problem(check, "Secret "+d.Namespace+"/"+hostrights.ServingSecret+" holds no certificate", "delete the Secret; Muster makes it anew")}
	}
	var findings []Finding
	if left := served.NotAfter.Sub(d.Now()); left < soon {
		findings = append(findings, problem(check, fmt.Sprintf("the certificate ends at %s and was not renewed", served.NotAfter.Format(time.RFC3339)),
			"see the log of the Pods for why the Secret cannot be written"))
	}
	for _, name := range hostrights.RegistrationNames() {
		registration, err := d.Aggregator.ApiregistrationV1().APIServices().Get(ctx, name, metav1.GetOptions{})
		if err != nil || !d.ours(registration) {
			continue // a finding already
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(registration.Spec.CABundle)
		_, err = served.Verify(x509.VerifyOptions{Roots: roots, DNSName: d.Service + "." + d.Namespace + ".svc", CurrentTime: d.Now()})
		if err != nil {
			findings = append(findings, problem(check, fmt.Sprintf("the caBundle of APIService %s does not trust what is served: %v", name, err),
				"Muster keeps it by itself: see the log of its Pods for why it cannot, and the findings on rights"))
		}
	}
	if len(findings) == 0 {
		return fine(check, "the certificate is trusted until %s", served.NotAfter.Format(time.RFC3339))
	}
	return findings
}

func parseCertificate(raw []byte) *x509.Certificate {
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return cert
}
