// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-project/muster/test/fleet"
)

const (
	// settled is how long a load runs before and after what happens to Muster.
	settled = 3 * time.Second
	// readinessPeriod is the shipped probe's.
	readinessPeriod = time.Second
	// gracePeriod is the shipped one.
	gracePeriod = 110 * time.Second
	// followerKills is how often a follower is killed: the aggregator's few
	// connections may all lead to others.
	followerKills = 4

	servingSecret = "muster-serving-cert"
	// rotateAnnotation asks for a new authority that signs after so long.
	rotateAnnotation = "muster.projectsveltos.io/rotate-authority=15s"
)

// measureAvailability is HA.
func measureAvailability(ctx context.Context, b *bench, report func(*Measure)) error {
	return b.withFleet(ctx, fleet.Options{Name: "ha", Replicas: haReplicas}, func(ctx context.Context, f *fleet.Fleet) error {
		if err := prepareLoad(ctx, f); err != nil {
			return err
		}
		for _, measure := range []func(context.Context, *bench, *fleet.Fleet) (*Measure, error){
			measureRollingRestart, measureFollowerKill, measureRotation,
		} {
			m, err := measure(ctx, b, f)
			if err != nil {
				return err
			}
			report(m)
		}
		return nil
	})
}

// underLoad does something while there is a load, and for a while before and
// after.
func underLoad(ctx context.Context, b *bench, f *fleet.Fleet, do func(context.Context) error) (*apiLoad, error) {
	load, err := startLoad(ctx, f)
	if err != nil {
		return nil, err
	}
	err = pause(ctx, settled)
	if err == nil {
		err = do(ctx)
	}
	err = errors.Join(err, pause(ctx, settled), load.stop(ctx))
	load.explain(b)
	return load, err
}

// measureRollingRestart ends each replica in order and starts it again when it
// has ended. An upgrade with the chart starts the new one first.
func measureRollingRestart(ctx context.Context, b *bench, f *fleet.Fleet) (*Measure, error) {
	load, err := underLoad(ctx, b, f, func(ctx context.Context) error {
		for _, replica := range f.Muster.Replicas() {
			began := time.Now()
			if err := stop(ctx, replica); err != nil {
				return err
			}
			ended := time.Since(began)
			if err := replica.Start(ctx); err != nil {
				return err
			}
			b.logf("HA: %s ended after %.1fs and was ready %.1fs later", replica.Name(), ended.Seconds(), (time.Since(began) - ended).Seconds())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("rolling restart: %w", err)
	}
	m := &Measure{Name: "HA rolling_restart"}
	m.Number("requests", float64(load.requests()), 0).AtMost("failed", float64(len(load.failures)), 0, 0)
	return load.measure(m), nil
}

func stop(ctx context.Context, replica *fleet.Server) error {
	ctx, cancel := context.WithTimeout(ctx, gracePeriod)
	defer cancel()
	return replica.Stop(ctx)
}

// measureFollowerKill kills followers, by turns. What was in flight then, or came
// before a probe can have noticed, may fail.
func measureFollowerKill(ctx context.Context, b *bench, f *fleet.Fleet) (*Measure, error) {
	var kills []time.Time
	load, err := underLoad(ctx, b, f, func(ctx context.Context) error {
		for run := range b.repeat(followerKills) {
			followers, err := followersOf(ctx, f)
			if err != nil {
				return err
			}
			follower := followers[run%len(followers)]
			kills = append(kills, time.Now())
			if err := follower.Kill(); err != nil {
				return err
			}
			b.logf("HA: killed %s", follower.Name())
			if err := pause(ctx, readinessPeriod+settled); err != nil {
				return err
			}
			if err := follower.Start(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("killing followers: %w", err)
	}
	m := &Measure{Name: "HA follower_kill"}
	m.Number("requests", float64(load.requests()), 0).
		Number("failed", float64(len(load.failures)), 0).
		AtMost("failed_later", float64(load.failedApart(kills, readinessPeriod)), 0, 0).
		Number("kills", float64(len(kills)), 0)
	return load.measure(m), nil
}

func followersOf(ctx context.Context, f *fleet.Fleet) ([]*fleet.Server, error) {
	leader, err := f.Muster.Leader(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(f.Muster.Replicas(), func(s *fleet.Server) bool { return s == leader }), nil
}

// measureRotation rotates the authority of the serving certificate, until nobody
// trusts the old one any more.
func measureRotation(ctx context.Context, b *bench, f *fleet.Fleet) (*Measure, error) {
	var took time.Duration
	load, err := underLoad(ctx, b, f, func(ctx context.Context) error {
		before, err := trusted(ctx, f)
		if err != nil {
			return err
		}
		began := time.Now()
		if _, err := f.Kubectl(ctx, "-n", fleet.Namespace, "annotate", "secret", servingSecret, rotateAnnotation); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
		defer cancel()
		err = fleet.Await(ctx, func(ctx context.Context) error { return replaced(ctx, f, before) })
		took = time.Since(began)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("rotating the authority: %w", err)
	}
	m := &Measure{Name: "HA certrotate"}
	m.Number("requests", float64(load.requests()), 0).AtMost("failed", float64(len(load.failures)), 0, 0).
		Number("took_s", took.Seconds(), 0)
	return load.measure(m), nil
}

// trusted are the certificates, as PEM, that the Secret and the APIServices
// trust.
func trusted(ctx context.Context, f *fleet.Fleet) ([]string, error) {
	secret, err := f.Kubectl(ctx, "-n", fleet.Namespace, "get", "secret", servingSecret, "-o", `jsonpath={.data.ca\.crt}`)
	if err != nil {
		return nil, err
	}
	services, err := f.Kubectl(ctx, "get", "apiservices", "-l", "app.kubernetes.io/name=muster", "-o", `jsonpath={range .items[*]}{.spec.caBundle}{"\n"}{end}`)
	if err != nil {
		return nil, err
	}
	var all []string
	for bundle := range strings.FieldsSeq(secret.Stdout + "\n" + services.Stdout) {
		decoded, err := base64.StdEncoding.DecodeString(bundle)
		if err != nil {
			return nil, fmt.Errorf("decoding a caBundle: %w", err)
		}
		for certificate := range strings.SplitAfterSeq(string(decoded), "-----END CERTIFICATE-----\n") {
			if certificate != "" {
				all = append(all, certificate)
			}
		}
	}
	return all, nil
}

// replaced fails while anything that was trusted before still is.
func replaced(ctx context.Context, f *fleet.Fleet, before []string) error {
	if err := pause(ctx, readinessPeriod); err != nil { // kubectl costs what the load needs
		return err
	}
	now, err := trusted(ctx, f)
	if err != nil {
		return err
	}
	for _, certificate := range now {
		if slices.Contains(before, certificate) {
			return errors.New("the old authority is still trusted")
		}
	}
	return nil
}
