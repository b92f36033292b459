// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/test/fleet"
)

// deployments have a profile with everything in it deployed to one cluster, changed,
// handed over to another profile and withdrawn, and strike Muster in each of that.
type deployments struct {
	*helmRound
	stops    *traps
	depot    *depot
	programs string // the directory of those that run
	editions int
	changes  []change // that have ended
}

// change is one thing that is asked for, and that Muster is killed in.
type change struct {
	fault string // as the tally has it
	steps []string
	begin func(t *testing.T)
	// owner has of when the change has come to its end; nobody has anything if it is
	// empty.
	owner string
	of    edition
	// mayDelete is what of the cluster may be deleted meanwhile, as resource,
	// namespace/name.
	mayDelete    *regexp.Regexp
	began, ended time.Time
}

// ownerName is the profile that deploys, heirName the one that it hands over to.
const ownerName, heirName = name + "-a", name + "-b"

// TestDeployment kills Muster at every step of a deployment.
func TestDeployment(t *testing.T) {
	besideOthers(t)
	t.Run("alone", func(t *testing.T) {
		d := startDeployments(t, fleet.Options{Name: "deployment"})
		d.run(t)
		t.Run("another build writes nothing", d.testAnotherBuild)
	})
	// Once alone they cost more than they tell: TestReplicas kills leaders, also in what
	// Helm does.
	if *rounds > 1 {
		t.Run("leader of several", func(t *testing.T) {
			startDeployments(t, fleet.Options{Name: "deployment", Replicas: 2}).run(t)
		})
	}
}

// startDeployments starts a fleet with one managed cluster, which is registered behind
// the traps.
func startDeployments(t *testing.T, options fleet.Options) *deployments {
	t.Helper()
	options.Managed = []string{"cluster1"}
	options.Bin = programs(t)
	e := startFleet(t, options)
	d := &deployments{helmRound: &helmRound{environment: e, active: "cluster1"}, stops: &traps{}, programs: options.Bin}
	d.depot = serveDepot(t, d.stops)
	d.startHooks(t)
	err := e.fleet.Register(t.Context(), fleet.Registration{
		Namespace: name, Name: d.active, Labels: map[string]string{"env": name}, Kubeconfig: d.stops.serveGate(t, e.fleet.Managed(d.active)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// run makes the rounds.
func (d *deployments) run(t *testing.T) {
	for round := range *rounds {
		t.Run(fmt.Sprintf("round %d", round), d.round)
		if t.Failed() {
			return
		}
	}
	d.expectNothingStale(t)
	d.expectNothingForbidden(t)
	d.struck.report(t)
}

// round strikes once in each change that a deployment goes through.
func (d *deployments) round(t *testing.T) {
	d.forgetHooks(t)
	d.changes = nil
	owner, heir := ownerName, heirName
	first, second := d.next(oldVersion), d.next(newVersion)
	d.strikeIn(t, change{
		fault: "Muster killed in an installation", steps: installationSteps(), owner: owner, of: first,
		begin:     func(t *testing.T) { d.ask(t, owner, first, "") },
		mayDelete: regexp.MustCompile(`^\w+ ` + chartNamespace + `/`), // of an attempt that is undone
	})
	d.strikeIn(t, change{
		fault: "Muster killed in a change", steps: editionSteps(), owner: owner, of: second,
		begin: func(t *testing.T) { d.ask(t, owner, second, "") },
		mayDelete: regexp.MustCompile(`^configmaps ` + contentNamespace + `/\w+-only-` + first.version + `-|^\w+ ` + chartNamespace +
			`/steps-only-` + first.version + `$|` + helmsOwn),
	})
	d.handOver(t, owner, heir, second)
	d.strikeIn(t, change{
		fault: "Muster killed in a withdrawal", steps: withdrawalSteps(),
		begin: func(t *testing.T) { d.remove(t, heir) }, mayDelete: regexp.MustCompile(``),
	})
	d.expectNothingElseDeleted(t)
}

// handOver strikes while everything goes to another profile: to one with a lower tier, or
// to one that waits for it as the owner goes.
func (d *deployments) handOver(t *testing.T, owner, heir string, of edition) {
	t.Helper()
	handed := change{fault: "Muster killed in a hand-over", steps: handOverSteps(), owner: heir, of: of, mayDelete: regexp.MustCompile(helmsOwn)}
	if takes := d.random.IntN(2) == 0; takes {
		handed.begin = func(t *testing.T) { d.ask(t, heir, of, "tier: 50") }
		d.strikeIn(t, handed)
		d.remove(t, owner)
	} else {
		d.ask(t, heir, of, "transitionFrom: "+owner)
		eventually(t, heir+" waits for "+owner, convergence, d.conflicts(heir))
		handed.begin = func(t *testing.T) { d.remove(t, owner) }
		d.strikeIn(t, handed)
	}
	eventually(t, owner+" is gone", convergence, d.gone(owner))
	d.changes[len(d.changes)-1].ended = time.Now()
	if err := d.hasEdition(t.Context(), heir, of); err != nil {
		t.Errorf("after %s is gone: %v", owner, err)
	}
}

// helmsOwn is what Helm deletes whatever it does: records of old revisions, and hooks
// before they are run again.
const helmsOwn = `^jobs ` + chartNamespace + `/|^secrets ` + chartNamespace + `/sh\.helm\.release\.`

func (d *deployments) next(version string) edition {
	d.editions++
	return edition{number: d.editions, version: version}
}

// color is the value of the chart that an edition has.
func (of edition) wanted() wanted {
	return wanted{version: of.version, color: fmt.Sprintf("edition%d", of.number)}
}

// ask has a profile ask for an edition, in all of its lists, of which two are ordered and
// one goes beside them.
func (d *deployments) ask(t *testing.T, profile string, of edition, more string) {
	t.Helper()
	d.apply(t, `
apiVersion: config.projectsveltos.io/v1beta1
kind: ClusterProfile
metadata: {name: %[1]s}
spec:
  %[10]s
  clusterSelector: {matchLabels: {env: %[2]s}}
  featureOrder: [Helm, Resources]
  helmCharts:
  - {repositoryURL: %[3]q, repositoryName: chaos, chartName: chaos/steps, chartVersion: %[4]s, releaseName: %[5]s, releaseNamespace: %[6]s, values: "color: %[7]s"}
  policyRefs:
  - remoteURL: {url: %[8]q}
  kustomizationRefs:
  - remoteURL: {url: %[9]q}
  validateHealths:
  - {name: deployed, featureID: Kustomize, group: "", version: v1, kind: ConfigMap, namespace: %[11]s, labelFilters: [{key: chaos, operation: Equal, value: built}], evaluateCEL: [{name: edition, rule: "resource.data.edition == '%[12]d'"}]}
  - {name: metric, featureID: Resources, metricSource: {url: %[13]q}, metricQueries: [{name: up, query: %[14]q}], evaluateCEL: [{name: up, rule: "metrics.up > 0.5"}]}
`, profile, name, d.depot.URL+"/charts", of.version, chartRelease, chartNamespace, of.wanted().color,
		d.depot.url(of, manifestsFile), d.depot.url(of, kustomizationFile), more, contentNamespace, of.number, d.depot.URL+"/metrics", of.metric(profile))
}

func (d *deployments) remove(t *testing.T, profile string) {
	t.Helper()
	if _, err := d.fleet.Kubectl(t.Context(), "delete", "clusterprofile", profile, "--wait=false"); err != nil {
		t.Fatal(err)
	}
}

// strikeIn kills Muster at some step of a change, and sees to it that the change comes
// to its end all the same, and that nothing is another than before that should have
// stayed.
func (d *deployments) strikeIn(t *testing.T, c change) {
	t.Helper()
	before, err := d.identities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	aimed := d.struck.aim(d.random, c.fault, c.steps)
	victim, set := d.victim(t), d.arm(aimed, c)
	c.began = time.Now()
	c.begin(t)
	set, found := d.awaitTrap(t, aimed, c, set)
	struck := time.Now()
	if err := victim.Kill(); err != nil {
		t.Fatal(err)
	}
	underWay := d.random.IntN(2) == 0
	d.stops.open(set, underWay)
	d.depot.healthy.Store(true)
	d.let(hookBefore, hookAfter)
	d.struck.strike(t, c.fault, c.steps, aimed, found)
	t.Logf("killed %s %.2f s after the change was asked for; what was under way arrives: %t", victim.Name(), struck.Sub(c.began).Seconds(), underWay)
	d.recover(t, victim, struck)
	took := eventually(t, "the change has come to its end", convergence-time.Since(struck), func(ctx context.Context) error { return d.hasEdition(ctx, c.owner, c.of) })
	t.Logf("everything is as it should be %.2f s after the kill, %.2f s after Muster was back", time.Since(struck).Seconds(), took.Seconds())
	d.expectStayed(t, c, before)
	c.ended = time.Now()
	d.changes = append(d.changes, c)
}

// victim is the server that deploys.
func (d *deployments) victim(t *testing.T) *fleet.Server {
	t.Helper()
	if all := d.fleet.Muster.Replicas(); len(all) == 1 {
		return all[0]
	}
	return d.leader(t)
}

// recover starts a killed server again, of several when another one leads.
func (d *deployments) recover(t *testing.T, victim *fleet.Server, struck time.Time) {
	t.Helper()
	start := d.fleet.Muster.Start // which waits for the host to find it too
	if len(d.fleet.Muster.Replicas()) > 1 {
		d.awaitTakeover(t, victim, struck)
		start = victim.Start
	}
	if err := start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// expectStayed sees to it that what is there as before a change is no other object.
func (d *deployments) expectStayed(t *testing.T, c change, before map[string]string) {
	t.Helper()
	if c.owner == "" {
		return
	}
	after, err := d.identities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for object, uid := range before {
		if now, stays := after[object]; stays && now != uid {
			t.Errorf("%s: %s was deleted and made again", c.fault, object)
		}
	}
}

// hasEdition checks that a profile has an edition on the cluster, all of it, and that there is
// nothing else; or that there is nothing.
func (d *deployments) hasEdition(ctx context.Context, owner string, of edition) error {
	if owner == "" {
		return errors.Join(d.hasObjects(ctx, 0, nil), d.inventoried(ctx, "", nil), d.withdrawnFrom(d.active)(ctx), d.gone(ownerName)(ctx), d.gone(heirName)(ctx))
	}
	if err := d.hasObjects(ctx, of.number, of.objects()); err != nil {
		return err
	}
	state, err := d.release(ctx, d.active)
	if err == nil {
		err = of.wanted().check(state)
	}
	if err == nil {
		err = d.inventoried(ctx, owner, append(of.objects(), "helm chart "+chartNamespace+"/"+chartRelease))
	}
	if err == nil {
		err = d.isProvisioned(ctx, owner, of)
	}
	if err != nil {
		return err
	}
	return d.helmSees(ctx, d.active, of.wanted(), state.last().number)
}

// gone checks that a profile, and what was made for it, is gone.
func (d *deployments) gone(profile string) func(context.Context) error {
	return func(ctx context.Context) error {
		client, err := d.anyReplica()
		if err != nil {
			return err
		}
		profiles, err := client.ConfigV1beta1().ClusterProfiles().List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range profiles.Items {
			if profiles.Items[i].Name == profile {
				return fmt.Errorf("%s is there", profile)
			}
		}
		summaries, err := d.summariesOf(ctx, profile)
		if err == nil && len(summaries) > 0 {
			err = fmt.Errorf("%s of %s is there", summaries[0].Name, profile)
		}
		return err
	}
}
