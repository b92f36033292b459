// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/muster-project/muster/pkg/storage/identity"
)

const (
	leaderLease = "muster"
	// stale is how old a Lease may be that is renewed every half second.
	stale = 15 * time.Second
	// skew is how far clocks may differ before certificates and tokens suffer.
	skew = 2 * time.Second
	// patience is how long Muster may take to answer, which without its storage may
	// be for ever.
	patience = 10 * time.Second
)

// storage checks that Muster trusts its storage.
func (d *Doctor) storage(ctx context.Context) []Finding {
	const check = "storage"
	asking, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := d.AskStorage(asking)
	if _, _, held := identity.FromStatus(err); held {
		return []Finding{problem(check, err.Error(), `bring the right etcd back, or see what was found with "kubectl muster confirm-storage"`)}
	}
	if err != nil {
		return []Finding{problem(check, fmt.Sprintf("Muster does not answer: %v", err), "see the findings above, and the log of the Pods")}
	}
	configMap, err := d.Host.CoreV1().ConfigMaps(d.Namespace).Get(ctx, identity.ConfigMapName, metav1.GetOptions{})
	if err != nil {
		return unknown(check, "ConfigMap "+d.Namespace+"/"+identity.ConfigMapName, err)
	}
	stored, err := identity.Parse(configMap.Data)
	if err != nil || stored.Record == nil {
		return []Finding{warning(check, "ConfigMap "+d.Namespace+"/"+identity.ConfigMapName+" has no usable record of the storage",
			"nothing, Muster repairs it while it runs; if it does not, see the log of its Pods")}
	}
	return fine(check, "Muster trusts its storage: %s", stored.Record)
}

// leader checks that somebody leads.
func (d *Doctor) leader(ctx context.Context) []Finding {
	const check = "leader"
	lease, err := d.Host.CoordinationV1().Leases(d.Namespace).Get(ctx, leaderLease, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return fine(check, "there is no Lease: a lone server with embedded etcd leads without one")
	}
	if err != nil {
		return unknown(check, "Lease "+d.Namespace+"/"+leaderLease, err)
	}
	holder := ptr.Deref(lease.Spec.HolderIdentity, "")
	now, err := d.HostTime(ctx)
	if err != nil {
		now = d.Now()
	}
	if holder == "" || lease.Spec.RenewTime == nil || now.Sub(lease.Spec.RenewTime.Time) > stale {
		return []Finding{problem(check, fmt.Sprintf("nobody leads: Lease %s/%s, last held by %q, is not renewed", d.Namespace, leaderLease, holder),
			"no controllers run; see the log of the Pods, and the findings on storage and rights")}
	}
	return fine(check, "%s leads", holder)
}

// clocks checks that the clocks agree: ours with the host's, and the leader's
// with the host's.
func (d *Doctor) clocks(ctx context.Context) []Finding {
	const check = "clocks"
	before := d.Now()
	host, err := d.HostTime(ctx)
	if err != nil {
		return unknown(check, "the host's clock", err)
	}
	// The host's answer has whole seconds, and was made between two moments of ours.
	ours := before.Add(d.Now().Sub(before) / 2)
	var findings []Finding
	if difference := host.Sub(ours).Abs(); difference > skew+time.Second {
		findings = append(findings, warning(check, fmt.Sprintf("the clock of this machine and the host's differ by about %s", difference.Round(time.Second)),
			"synchronise them; what is said here about time is by the host's clock"))
	}
	lease, err := d.Host.CoordinationV1().Leases(d.Namespace).Get(ctx, leaderLease, metav1.GetOptions{})
	if err == nil && lease.Spec.RenewTime != nil && lease.Spec.RenewTime.Sub(host) > skew+time.Second {
		findings = append(findings, problem(check, fmt.Sprintf("the leader's clock is ahead of the host's by about %s", lease.Spec.RenewTime.Sub(host).Round(time.Second)),
			"synchronise the clocks of the nodes"))
	}
	if len(findings) == 0 {
		return fine(check, "the clocks agree")
	}
	return findings
}
