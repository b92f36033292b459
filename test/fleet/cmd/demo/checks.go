// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/muster-project/muster/test/fleet"
)

// stepPatience bounds the wait for one thing to happen. A loaded machine takes
// many times what it needs otherwise.
const stepPatience = 2 * time.Minute

// await waits until a check succeeds.
func await(ctx context.Context, what string, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	if err := fleet.Await(ctx, check); err != nil {
		return fmt.Errorf("waiting until %s: %w", what, err)
	}
	return nil
}

// released is a check that a cluster has the release, or has it no more.
func (d *demo) released(cluster string, want bool) func(context.Context) error {
	return func(ctx context.Context) error {
		there, err := d.observer.Released(ctx, cluster, releaseNamespace, release)
		if err == nil && there != want {
			err = fmt.Errorf("%s in %s: %t, want %t", release, cluster, there, want)
		}
		return err
	}
}

// addons is a check that Muster lists exactly one release, with this version,
// for each of these clusters.
func (d *demo) addons(version string, clusters ...string) func(context.Context) error {
	slices.Sort(clusters)
	return func(ctx context.Context) error {
		result, err := d.kubectl.Run(ctx, "muster", "show", "addons", "--output=json")
		if err != nil {
			return err
		}
		var list struct {
			Items []struct {
				Name    string `json:"name"`
				Version string `json:"version"`
				Cluster struct {
					Name string `json:"name"`
				} `json:"cluster"`
			} `json:"items"`
		}
		if err := json.Unmarshal([]byte(result.Stdout), &list); err != nil {
			return fmt.Errorf("reading the list of add-ons: %w", err)
		}
		var found []string
		for _, addon := range list.Items {
			if addon.Name == release && addon.Version == version {
				found = append(found, addon.Cluster.Name)
			}
		}
		slices.Sort(found)
		if len(list.Items) != len(clusters) || !slices.Equal(found, clusters) {
			return fmt.Errorf("want %s %s in %q alone, have %+v", release, version, clusters, list.Items)
		}
		return nil
	}
}

// reason reads why the set has selected a cluster, or has not.
func (d *demo) reason(ctx context.Context, cluster string) (string, error) {
	result, err := d.kubectl.Run(ctx, "get", "clusterset", set, "--subresource=selection", "--output=json")
	if err != nil {
		return "", err
	}
	var selection struct {
		Candidates []struct {
			Ref struct {
				Name string `json:"name"`
			} `json:"ref"`
			Reason string `json:"reason"`
		} `json:"candidates"`
	}
	if err := json.Unmarshal([]byte(result.Stdout), &selection); err != nil {
		return "", fmt.Errorf("reading the selection: %w", err)
	}
	for _, candidate := range selection.Candidates {
		if candidate.Ref.Name == cluster {
			return candidate.Reason, nil
		}
	}
	return "", fmt.Errorf("%s is no candidate of ClusterSet %s", cluster, set)
}

// standbyAfterWithdrawal waits until a cluster that came back is the standby.
// That it is Returning until its chart is gone is what this is about: anything
// else is an error at once.
func (d *demo) standbyAfterWithdrawal(ctx context.Context, cluster string) error {
	var violation error
	err := await(ctx, cluster+" is the standby", func(ctx context.Context) error {
		reason, err := d.reason(ctx, cluster)
		if err != nil {
			return err
		}
		if reason == "Returning" {
			return fmt.Errorf("%s is %s", cluster, reason)
		}
		// In this order: a chart that is there after the cluster was called
		// Standby was there before, too.
		there, err := d.observer.Released(ctx, cluster, releaseNamespace, release)
		if err != nil {
			return err
		}
		if reason != "Standby" || there {
			violation = fmt.Errorf("after its return %s is %s, has the chart: %t", cluster, reason, there)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return violation
}
