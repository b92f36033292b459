// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/muster-project/muster/test/fleet"
)

// What the manifests in artifacts/examples/failover name.
const (
	examples         = "artifacts/examples/failover/"
	namespace        = "civo"
	set              = "prod"
	release          = "kyverno-latest"
	releaseNamespace = "kyverno"
	firstVersion     = "3.0.1"
	secondVersion    = "3.3.3"
)

// demo is the scenario in progress.
type demo struct {
	fleet    *fleet.Fleet
	observer *fleet.Observer
	kubectl  *fleet.Kubectl

	active, standby string
	times           fleet.FailoverTimes
}

func (d *demo) register(ctx context.Context) error {
	heading("Registering the two clusters")
	for _, c := range d.fleet.Clusters() {
		err := d.do(ctx, "muster", "register", "cluster", "--namespace", namespace, "--cluster", c.Name(),
			"--kubeconfig", relative(c.KubeconfigFile()), "--labels", "env=prod", "--wait")
		if err != nil {
			return err
		}
	}
	return d.do(ctx, "get", "sveltosclusters", "-A", "--show-labels")
}

func (d *demo) selectOne(ctx context.Context) error {
	heading("A ClusterSet keeps one of them active")
	if err := d.do(ctx, "apply", "-f", examples+"clusterset.yaml"); err != nil {
		return err
	}
	err := await(ctx, "one cluster is selected", func(ctx context.Context) error {
		selected, err := d.observer.Selected(ctx, set)
		if err != nil {
			return err
		}
		if len(selected) != 1 {
			return fmt.Errorf("ClusterSet %s has %q selected", set, selected)
		}
		d.active, d.standby = "cluster1", "cluster2"
		if selected[0] == namespace+"/cluster2" {
			d.active, d.standby = "cluster2", "cluster1"
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.do(ctx, "get", "clusterset", set, "--subresource=selection")
}

func (d *demo) deploy(ctx context.Context) error {
	heading("A ClusterProfile puts a chart on the active one, which is " + d.active)
	explain("This manifest is of the older API version, v1alpha1; Muster serves both.")
	if err := d.do(ctx, "apply", "-f", examples+"clusterprofile-v1alpha1.yaml"); err != nil {
		return err
	}
	if err := await(ctx, "the chart is deployed", d.addons(firstVersion, d.active)); err != nil {
		return err
	}
	return d.showRelease(ctx, firstVersion, d.active)
}

func (d *demo) upgrade(ctx context.Context) error {
	heading("The same ClusterProfile, now v1beta1 and with a newer chart, upgrades it")
	if err := d.do(ctx, "apply", "-f", examples+"clusterprofile.yaml"); err != nil {
		return err
	}
	if err := await(ctx, "the chart is upgraded", d.addons(secondVersion, d.active)); err != nil {
		return err
	}
	if err := d.showRelease(ctx, secondVersion, d.active); err != nil {
		return err
	}
	return d.released(d.standby, false)(ctx)
}

// showRelease shows what is deployed, as Muster sees it and as Helm does.
func (d *demo) showRelease(ctx context.Context, version, cluster string) error {
	if err := d.do(ctx, "muster", "show", "addons"); err != nil {
		return err
	}
	list, err := d.helmList(ctx, cluster)
	if err != nil {
		return err
	}
	for _, want := range []string{release, "deployed", "kyverno-" + version} {
		if !strings.Contains(list, want) {
			return fmt.Errorf("helm does not list %s in %s with %q", release, cluster, want)
		}
	}
	return nil
}

func (d *demo) failOver(ctx context.Context) error {
	heading("Killing the API server of " + d.active)
	dying := d.fleet.Managed(d.active)
	fmt.Println("$ kill -9", dying.PID())
	var err error
	d.times, err = d.observer.MeasureFailover(ctx, fleet.Failover{
		Set: set, Namespace: namespace, From: d.active, To: d.standby,
		Fault:    dying.Kill,
		Deployed: d.released(d.standby, true),
	})
	if err != nil {
		return err
	}
	explain("%s after the kill %s was known to be down,", seconds(d.times.Detected), d.active)
	explain("%s after the kill %s was selected in its place,", seconds(d.times.Selected), d.standby)
	explain("%s after the kill it had the chart.", seconds(d.times.Deployed))
	if err := d.do(ctx, "get", "sveltosclusters", "-A"); err != nil {
		return err
	}
	if err := d.do(ctx, "get", "clusterset", set, "--subresource=selection"); err != nil {
		return err
	}
	// Muster writes down what Helm has already done.
	if err := await(ctx, "both clusters are listed", d.addons(secondVersion, d.active, d.standby)); err != nil {
		return err
	}
	explain("%s still carries its chart: nobody can reach it to take the chart away.", d.active)
	return d.showRelease(ctx, secondVersion, d.standby)
}

func (d *demo) bringBack(ctx context.Context) error {
	heading("Bringing " + d.active + " back")
	explain("It is Returning until its chart is withdrawn. Then it is the standby; it does not take its place back.")
	if err := d.fleet.Managed(d.active).Restart(ctx); err != nil {
		return err
	}
	if err := d.do(ctx, "get", "clusterset", set, "--subresource=selection"); err != nil {
		return err
	}
	if err := d.standbyAfterWithdrawal(ctx, d.active); err != nil {
		return err
	}
	if err := d.do(ctx, "get", "sveltosclusters", "-A"); err != nil {
		return err
	}
	if err := d.do(ctx, "get", "clusterset", set, "--subresource=selection"); err != nil {
		return err
	}
	if err := await(ctx, "only "+d.standby+" has the chart", d.addons(secondVersion, d.standby)); err != nil {
		return err
	}
	if err := d.observer.OnlySelected(ctx, set, namespace+"/"+d.standby); err != nil {
		return fmt.Errorf("after the return of %s: %w", d.active, err)
	}
	return d.showRelease(ctx, secondVersion, d.standby)
}

func seconds(t time.Duration) string { return fmt.Sprintf("%.1f s", t.Seconds()) }
