// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"context"
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/clusterref"
	"github.com/muster-project/muster/pkg/controllers/sveltoscluster"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/fleet"
)

// noAccount is a host without the tenant's account.
type noAccount struct{ fixedHost }

func (noAccount) CheckAccount(context.Context, fleet.Identity) error {
	return errors.New("it does not exist")
}

func TestASummaryActsAsItsTenant(t *testing.T) {
	summary := summaryFor("kyverno")
	if as := identityOf(summary); !as.IsZero() {
		t.Errorf("a profile of nobody is deployed as %+v", as)
	}
	summary.Spec.ServiceAccount = &configv1beta1.TenantServiceAccount{Namespace: "teams"}
	if identityOf(summary).IsZero() {
		t.Error("half of a tenant is deployed with all rights")
	}
	plain := newClient(t)
	r := New(Options{Host: plain, HostCluster: &noAccount{}})
	target := deploy.Cluster{Ref: clusterref.Of("civo", "cluster1")}
	name := types.NamespacedName{Namespace: "civo", Name: "s"}
	if as, err := r.actAs(t.Context(), name, target, fleet.Identity{}); err != nil || as.reader != plain {
		t.Errorf("Muster acts with %v, %v", as.reader, err)
	}
	tenant := fleet.Identity{ServiceAccountNamespace: "teams", ServiceAccountName: "eng"}
	as, err := r.actAs(t.Context(), name, target, tenant)
	if err == nil || !strings.Contains(err.Error(), "ServiceAccount teams/eng: it does not exist") || as.reader != nil {
		t.Errorf("an account that is missing acts with %v, %v", as.reader, err)
	}
	// The kubeconfig that is missing, or replaced, makes it due.
	secret := types.NamespacedName{Namespace: "civo", Name: sveltoscluster.TenantSecretName("cluster1", tenant)}
	if woken := r.memory.changed(sourceRef{kind: configv1beta1.SourceKindSecret, NamespacedName: secret}); len(woken) != 1 || woken[0] != name {
		t.Errorf("its kubeconfig wakes %v", woken)
	}
}
