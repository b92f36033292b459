// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/muster-project/muster/test/fleet"
)

// finding is one of those that the doctor prints as JSON.
type finding struct{ Check, Level, Message, Action string }

// doctor examines the installation. The exit code has to fit the findings.
func (c *chartInstallation) doctor(ctx context.Context, args ...string) ([]finding, error) {
	result, err := c.Host.Kubectl().Run(ctx, append([]string{"muster", "doctor", "--output=json"}, args...)...)
	var printed struct{ Findings []finding }
	if decodeErr := json.Unmarshal([]byte(result.Stdout), &printed); decodeErr != nil {
		return nil, errors.Join(decodeErr, err)
	}
	bad := slices.ContainsFunc(printed.Findings, func(f finding) bool { return f.Level != "ok" })
	if bad != (result.Code == 1) || !bad && err != nil {
		return nil, fmt.Errorf("exit code %d, %w, with %v", result.Code, err, printed.Findings)
	}
	return printed.Findings, nil
}

// finds waits until the doctor has a problem of a check that says all of this, and
// what to do.
func (c *chartInstallation) finds(check string, says ...string) {
	c.Helper()
	c.findsWith(nil, check, says...)
}

func (c *chartInstallation) findsWith(args []string, check string, says ...string) {
	c.Helper()
	c.eventually("the doctor finds a problem of "+check, func(ctx context.Context) error {
		findings, err := c.doctor(ctx, args...)
		if err != nil {
			return err
		}
		for _, f := range findings {
			if f.Check == check && f.Level == "problem" && f.Action != "" && saysAll("it", f.Message, says) == nil {
				return nil
			}
		}
		return fmt.Errorf("it finds %+v, want a problem of %s with %q", findings, check, says)
	})
}

// healthy waits until the doctor has nothing to say.
func (c *chartInstallation) healthy() {
	c.Helper()
	c.eventually("the doctor finds nothing", func(ctx context.Context) error {
		findings, err := c.doctor(ctx)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(findings, func(f finding) bool { return f.Level != "ok" }); i >= 0 {
			return fmt.Errorf("it finds %+v", findings[i])
		}
		return nil
	})
}

// examine breaks the installation in one way after the other, and mends it.
func (c *chartInstallation) examine() {
	c.healthy()
	c.examineRights()
	c.examineDefinitions()
	c.examineOldHost()
	c.examineStorage()
	c.examineDead()
}

func (c *chartInstallation) examineRights() {
	c.Helper()
	roles := c.host.RbacV1().ClusterRoles()
	role, err := roles.Get(c.Context(), "muster", metav1.GetOptions{})
	if err != nil {
		c.Fatal(err)
	}
	whole := role.DeepCopy()
	role.Rules = slices.DeleteFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.APIGroups, "admissionregistration.k8s.io") })
	if role, err = roles.Update(c.Context(), role, metav1.UpdateOptions{}); err != nil {
		c.Fatal(err)
	}
	for _, resource := range []string{"mutatingadmissionpolicies", "validatingwebhookconfigurations"} {
		c.finds("rights", "may not list "+resource+" of admissionregistration.k8s.io", "403")
	}
	whole.ResourceVersion = role.ResourceVersion
	if _, err := roles.Update(c.Context(), whole, metav1.UpdateOptions{}); err != nil {
		c.Fatal(err)
	}
}

func (c *chartInstallation) examineDefinitions() {
	c.Helper()
	const name = "sveltosclusters.lib.projectsveltos.io"
	c.run(definition, "apply", "-f", "-")
	c.finds("definitions", name)
	c.run("", "delete", "customresourcedefinition", name, "--wait=false")
	c.eventually("the definition is gone", func(ctx context.Context) error {
		// There are no objects for its finalizer to delete.
		_, _ = c.Kubectl(ctx, "patch", "customresourcedefinition", name, "--type=merge", "--patch", `{"metadata":{"finalizers":null}}`)
		result, err := c.Kubectl(ctx, "get", "customresourcedefinition", name, "--ignore-not-found", "-o", "name")
		if err == nil && result.Stdout != "" {
			err = errors.New("it is there")
		}
		return err
	})
}

// examineOldHost asks the host through a proxy by which it seems to be older.
func (c *chartInstallation) examineOldHost() {
	c.Helper()
	config, err := c.Host.RESTConfig()
	if err != nil {
		c.Fatal(err)
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		c.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		c.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(response *http.Response) error {
			if response.Request.URL.Path == "/version" {
				_ = response.Body.Close()
				const old = `{"major":"1","minor":"31","gitVersion":"v1.31.4"}`
				response.Body, response.ContentLength = io.NopCloser(strings.NewReader(old)), int64(len(old))
				response.Header.Set("Content-Length", fmt.Sprint(len(old)))
				response.Header.Del("Content-Encoding")
			}
			return nil
		},
	}
	server := httptest.NewServer(proxy)
	defer server.Close()
	c.findsWith([]string{"--server=" + server.URL}, "host version", "v1.31.4")
}

// examineStorage takes etcd away from Muster.
func (c *chartInstallation) examineStorage() {
	c.Helper()
	for _, member := range c.Muster.Members() {
		if err := member.Kill(); err != nil {
			c.Fatal(err)
		}
	}
	c.finds("storage", "Muster does not answer")
	c.heals()
}

// examineDead ends all replicas: nobody leads, and nobody keeps the caBundle. In
// it is an authority that has expired. When Muster is back it mends that itself.
func (c *chartInstallation) examineDead() {
	c.Helper()
	if err := c.Muster.Kill(); err != nil {
		c.Fatal(err)
	}
	expired := base64.StdEncoding.EncodeToString(expiredAuthority(c))
	c.run("", "patch", "apiservice", "v1beta1.lib.projectsveltos.io", "--type=merge", "--patch", `{"spec":{"caBundle":"`+expired+`"}}`)
	c.finds("certificate", "the caBundle of APIService v1beta1.lib.projectsveltos.io does not trust what is served")
	c.finds("apiservices", "is not available")
	c.finds("leader", "nobody leads")
	c.heals()
}

// heals brings everything back, and has the doctor see that.
func (c *chartInstallation) heals() {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), stepLimit)
	defer cancel()
	if err := c.Heal(ctx); err != nil {
		c.Fatal(err)
	}
	c.eventually("somebody leads", func(ctx context.Context) error {
		_, err := c.Muster.Leader(ctx)
		return err
	})
	c.healthy()
}

// expiredAuthority is a certificate in PEM that was good once.
func expiredAuthority(c *chartInstallation) []byte {
	c.Helper()
	authority, err := fleet.NewAuthority("expired")
	if err != nil {
		c.Fatal(err)
	}
	pair, err := authority.Issue(fleet.Certificate{CommonName: "expired", NotAfter: time.Now().Add(-time.Minute)})
	if err != nil {
		c.Fatal(err)
	}
	return pair.Cert
}
