// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/kube"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/deploy/mask"
)

// operation is one use of Helm on one cluster. It makes no request after its
// context has ended.
type operation struct {
	helm *action.Configuration
	// deleteErrors returns why deletions failed so far; Helm does not say.
	deleteErrors func() []error
	remains      remains
	definitions  definitions
	// learn notes what Helm has found out of what the cluster serves.
	learn func(*chartutil.Capabilities)
	// former is the revision that a rollback goes back to, 0 if there is none.
	former int
}

// definitions are the CRDs of a cluster.
type definitions interface {
	// upgradeCRDs creates or changes what crds have, of which former is what a
	// chart had before, and waits until it is established.
	upgradeCRDs(former, crds []string, timeout time.Duration) error
}

// beginFunc begins an operation on a release, of which the name, the namespace and
// what is said of it beside the chart matter. Tests give one without a cluster.
type beginFunc func(ctx context.Context, cluster Cluster, release Release) (*operation, error)

// beginOnCluster begins an operation on a real cluster.
func (m *Manager) beginOnCluster(ctx context.Context, cluster Cluster, release Release) (*operation, error) {
	getter, err := newGetter(ctx, cluster, release.Namespace)
	if err != nil {
		return nil, err
	}
	dynamicClient, err := dynamic.NewForConfig(getter.config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	clientset, err := kubernetes.NewForConfig(getter.config)
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	log := helmLog(ctx, cluster, release.Sensitive)
	helmClient := kube.New(getter)
	helmClient.Namespace, helmClient.Log = release.Namespace, log
	kubeClient := &client{
		Client: helmClient, ctx: ctx, dynamic: dynamicClient, clientset: clientset, discovery: cluster.Discovery, mapper: freshMapper{cluster.Mapper},
		release: &helmrelease.Release{Name: release.Name, Namespace: release.Namespace},
	}
	if release.Settings.Install.TakeOwnership || release.Settings.Upgrade.TakeOwnership {
		kubeClient.ownerOf = release.OwnerOf
	}
	known, learn := m.recallServed(ctx, cluster.Discovery, getter.config)
	helm := &action.Configuration{
		RESTClientGetter: getter,
		Releases:         storage.Init(newRecords(clientset.CoreV1().Secrets(release.Namespace))),
		KubeClient:       kubeClient,
		Capabilities:     known,
		Log:              log,
		HookOutputFunc:   func(_, _, _ string) io.Writer { return io.Discard },
	}
	kubeClient.validates = func() bool {
		return !release.Settings.DisableOpenAPIValidation && needsValidation(helm.Capabilities)
	}
	return &operation{
		helm:         helm,
		learn:        learn,
		deleteErrors: func() []error { return kubeClient.deleteErrors },
		remains:      kubeClient,
		definitions:  kubeClient,
	}, nil
}

// helmLog returns Helm's log, as ours.
func helmLog(ctx context.Context, cluster Cluster, sensitive []string) func(string, ...any) {
	logger := klog.FromContext(ctx).V(4)
	return func(format string, args ...any) {
		if logger.Enabled() {
			logger.Info("Helm", "cluster", cluster.Name, "message", mask.Text(fmt.Sprintf(format, args...), sensitive))
		}
	}
}

// Deploy brings a release to what it should be, and says what that took. It
// repairs what a killed process left pending. It returns when nothing of the
// operation is under way any more, also if ctx ends. Errors that the chart
// causes are *ChartError.
func (m *Manager) Deploy(ctx context.Context, cluster Cluster, release Release) (Outcome, error) {
	outcome, err := m.deploy(ctx, cluster, release)
	return outcome, mask.Error(err, release.Sensitive)
}

func (m *Manager) deploy(ctx context.Context, cluster Cluster, release Release) (Outcome, error) {
	parsed, err := release.Chart.parse()
	if err != nil {
		return Outcome{}, &ChartError{Reason: Invalid, Repository: RedactURL(release.Chart.Ref.RepositoryURL), Chart: release.Chart.Name, Version: release.Chart.Version, Err: err}
	}
	op, err := m.begin(ctx, cluster, release)
	if err != nil {
		return Outcome{}, err
	}
	op.admit(release)
	history, err := readHistory(op.helm.Releases, release.Name)
	if err != nil {
		return Outcome{}, err
	}
	to, err := targetOf(release, history)
	if err != nil {
		return Outcome{}, err
	}
	outcome := Outcome{
		Chart: release.Chart.Name, Version: release.Chart.Version, AppVersion: release.Chart.AppVersion, Icon: release.Chart.Icon,
		ValuesHash: to.valuesHash,
	}
	do, abandon := decide(history, to, release.Settings.Install.RecoverAfter)
	op.former = formerRevision(release, history, to)
	switch {
	case do == stepNone:
		outcome.Action, outcome.Revision = Unchanged, history[len(history)-1].Version
		err = op.settle(history, m.mostRevisions(release))
	case do != stepReinstall:
		err = op.prepare(ctx, history, abandon, m.timeout(release.Settings.Timeout), m.mostRevisions(release))
	}
	if err == nil && do != stepNone {
		outcome.Action, outcome.Revision, err = m.perform(ctx, op, do, history, release, parsed)
	}
	if err != nil {
		return outcome, err
	}
	return outcome, m.test(ctx, op, release)
}

// perform does one step, and takes away what those before it have left.
func (m *Manager) perform(ctx context.Context, op *operation, do step, history []*helmrelease.Release, release Release, parsed *chart.Chart) (Action, int, error) {
	var deployed *helmrelease.Release
	parsed, err := m.rendered(ctx, op, do, history, release, parsed)
	if err != nil {
		return "", 0, classify(mask.Error(err, release.Sensitive), release.Chart)
	}
	result := Installed
	if op.helm.RESTClientGetter != nil && len(definitionsOf(parsed)) > 0 {
		op.helm.Capabilities = nil // the chart's own kinds are about to be added
	}
	defer func() { op.learn(op.helm.Capabilities) }()
	switch do {
	case stepReinstall:
		settings := release.Settings.Uninstall
		settings.KeepHistory = false
		if err = m.uninstall(ctx, op, history, settings); err != nil {
			return "", 0, fmt.Errorf("removing an attempt that failed: %w", err)
		}
		deployed, err = m.install(op, release, parsed)
	case stepInstall:
		if err := mayReuseName(history, release); err != nil {
			return "", 0, err
		}
		deployed, err = m.install(op, release, parsed)
	case stepUpgrade:
		result = Upgraded
		deployed, err = m.change(op, history, release, parsed)
	}
	switch {
	case ctx.Err() != nil:
		return "", 0, fmt.Errorf("interrupted: %w", errors.Join(ctx.Err(), err))
	case err != nil:
		// What a hook has printed may be in it. It is masked before it is cut: half a
		// secret is not known as one.
		return "", 0, classify(mask.Error(err, append(secretsIn(deployed), release.Sensitive...)), release.Chart)
	}
	history, err = op.confirm(deployed)
	if err != nil {
		return "", 0, err
	}
	return result, deployed.Version, op.settle(history, m.mostRevisions(release))
}

// mayReuseName refuses to use the name of a release again whose history somebody
// wanted to keep.
func mayReuseName(history []*helmrelease.Release, release Release) error {
	if len(history) == 0 || !release.Settings.Install.KeepNames || history[len(history)-1].Info.Status != helmrelease.StatusUninstalled {
		return nil
	}
	return errors.New("a release of this name was uninstalled and its history kept, and installOptions.replace is false: purge that history with helm uninstall, or use another releaseName")
}

func (m *Manager) newInstall(op *operation, release Release) *action.Install {
	settings := &release.Settings
	install := action.NewInstall(op.helm)
	install.ReleaseName, install.Namespace = release.Name, release.Namespace
	// A name is also that of an attempt that failed; see mayReuseName for others.
	install.CreateNamespace, install.Replace = !settings.Install.KeepNamespaces, true
	install.Timeout = m.timeout(settings.Timeout)
	install.Wait, install.WaitForJobs, install.Atomic = settings.Wait, settings.WaitForJobs, settings.Atomic
	install.SkipCRDs, install.SkipSchemaValidation = settings.SkipCRDs, settings.SkipSchemaValidation
	install.DisableHooks, install.TakeOwnership = settings.Install.DisableHooks, settings.Install.TakeOwnership
	install.Description = settings.Description
	install.PostRenderer, install.Labels = postRenderer(release), recordLabels(release, nil)
	return install
}

func (m *Manager) install(op *operation, release Release, parsed *chart.Chart) (*helmrelease.Release, error) {
	// Without a context of its own, Helm returns when it has ended. With one,
	// it would return at once and go on in the background.
	deployed, err := m.newInstall(op, release).Run(parsed, copyValues(release.Values))
	if release.Settings.Install.KeepNamespaces && apierrors.IsNotFound(err) && strings.Contains(err.Error(), "namespaces") {
		err = fmt.Errorf("namespace %s does not exist, and installOptions.createNamespace is false: %w", release.Namespace, err)
	}
	return deployed, err
}

func (m *Manager) newUpgrade(op *operation, history []*helmrelease.Release, release Release) *action.Upgrade {
	settings := &release.Settings
	upgrade := action.NewUpgrade(op.helm)
	upgrade.Namespace = release.Namespace
	upgrade.MaxHistory = 0 // settle sees to it
	upgrade.Timeout = m.timeout(settings.Timeout)
	upgrade.Wait, upgrade.WaitForJobs, upgrade.Atomic = settings.Wait, settings.WaitForJobs, settings.Atomic
	upgrade.SkipSchemaValidation, upgrade.Description = settings.SkipSchemaValidation, settings.Description
	upgrade.ReuseValues, upgrade.ResetThenReuseValues = settings.Upgrade.ReuseValues, settings.Upgrade.ResetThenReuseValues
	// Unless something is to be reused, the values are all that there are: those of
	// the last revision don't count, also where the profile has none.
	upgrade.ResetValues = !settings.Upgrade.ReuseValues && !settings.Upgrade.ResetThenReuseValues
	upgrade.DisableHooks, upgrade.TakeOwnership = settings.Upgrade.DisableHooks, settings.Upgrade.TakeOwnership
	upgrade.Force, upgrade.Recreate = settings.Upgrade.Force, settings.Upgrade.Recreate
	upgrade.CleanupOnFail, upgrade.SubNotes = settings.Upgrade.CleanupOnFail, settings.Upgrade.SubNotes
	former := history[len(history)-1].Labels
	upgrade.PostRenderer, upgrade.Labels = postRenderer(release), recordLabels(release, former)
	return upgrade
}

func (m *Manager) upgrade(op *operation, history []*helmrelease.Release, release Release, parsed *chart.Chart) (*helmrelease.Release, error) {
	if release.Settings.Upgrade.UpgradeCRDs {
		if err := m.upgradeCRDs(op, history, parsed, release.Settings.Timeout); err != nil {
			return nil, err
		}
	}
	return m.newUpgrade(op, history, release).Run(release.Name, parsed, copyValues(release.Values))
}

// upgradeCRDs brings the definitions up to date, which Helm never does.
func (m *Manager) upgradeCRDs(op *operation, history []*helmrelease.Release, parsed *chart.Chart, timeout time.Duration) error {
	crds := definitionsOf(parsed)
	if len(crds) == 0 {
		return nil
	}
	var former []string
	if r := reusable(history); r != nil {
		former = definitionsOf(r.Chart)
	}
	if err := op.definitions.upgradeCRDs(former, crds, m.timeout(timeout)); err != nil {
		return fmt.Errorf("upgrading the chart's CustomResourceDefinitions: %w", err)
	}
	return nil
}

func definitionsOf(c *chart.Chart) []string {
	if c == nil {
		return nil
	}
	var files []string
	for _, crd := range c.CRDObjects() {
		files = append(files, string(crd.File.Data))
	}
	return files
}

// confirm makes sure that a revision was recorded as deployed: Helm only logs
// that it could not write it. It returns the history.
func (op *operation) confirm(deployed *helmrelease.Release) ([]*helmrelease.Release, error) {
	history, err := readHistory(op.helm.Releases, deployed.Name)
	if err != nil {
		return nil, err
	}
	if len(history) == 0 {
		return nil, fmt.Errorf("revision %d was deployed, but not recorded", deployed.Version)
	}
	last := history[len(history)-1]
	if last.Version != deployed.Version || last.Info.Status != helmrelease.StatusDeployed {
		return nil, fmt.Errorf("revision %d was deployed, but not recorded: revision %d is %s", deployed.Version, last.Version, last.Info.Status)
	}
	return history, nil
}

// Uninstall removes a release, and with it its history unless the settings keep it. One
// that is gone is no error.
func (m *Manager) Uninstall(ctx context.Context, cluster Cluster, namespace, name string, settings UninstallSettings) error {
	op, err := m.begin(ctx, cluster, Release{Namespace: namespace, Name: name})
	if err != nil {
		return err
	}
	history, err := readHistory(op.helm.Releases, name)
	if err != nil || len(history) == 0 {
		return err
	}
	if settings.KeepHistory && history[len(history)-1].Info.Status == helmrelease.StatusUninstalled {
		return nil
	}
	if err := m.uninstall(ctx, op, history, settings); err != nil || !settings.KeepHistory {
		return err
	}
	// Helm only logs that it could not write it.
	if history, err = readHistory(op.helm.Releases, name); err != nil {
		return err
	}
	if len(history) > 0 && history[len(history)-1].Info.Status != helmrelease.StatusUninstalled {
		return errors.New("it was uninstalled, but that was not recorded")
	}
	return nil
}

// uninstall removes what the last revision has made, which is all that Helm
// knows of, and before that what it had not come to delete of others.
func (m *Manager) uninstall(ctx context.Context, op *operation, history []*helmrelease.Release, settings UninstallSettings) error {
	last := history[len(history)-1]
	if last.Info.Status != helmrelease.StatusUninstalled {
		if err := op.clearHooks(last, m.timeout(settings.Timeout)); err != nil {
			return err
		}
		remains := func(r *helmrelease.Release) bool {
			return isUnfinished(r) || r.Info.Status == helmrelease.StatusDeployed
		}
		if err := op.sweep(last, history[:len(history)-1], remains); err != nil {
			return err
		}
	}
	uninstall := action.NewUninstall(op.helm)
	uninstall.Timeout = m.timeout(settings.Timeout)
	uninstall.DisableHooks, uninstall.KeepHistory = settings.DisableHooks, settings.KeepHistory
	uninstall.DeletionPropagation = cmp.Or(settings.DeletionPropagation, "background")
	_, err := uninstall.Run(last.Name)
	if err == nil {
		return nil
	}
	return &shortError{errors.Join(ctx.Err(), mask.Error(err, secretsIn(last)), errors.Join(op.deleteErrors()...))}
}
