// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"io"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/kube"
	helmrelease "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
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
	// former is the revision that a rollback goes back to, 0 if there is none.
	former int
}

// beginFunc begins an operation in the namespace of a release. Tests give one
// without a cluster.
type beginFunc func(ctx context.Context, cluster Cluster, namespace string, sensitive []string) (*operation, error)

// beginOnCluster begins an operation on a real cluster.
func (m *Manager) beginOnCluster(ctx context.Context, cluster Cluster, namespace string, sensitive []string) (*operation, error) {
	getter, err := newGetter(ctx, cluster, namespace)
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
	log := helmLog(ctx, cluster, sensitive)
	helmClient := kube.New(getter)
	helmClient.Namespace, helmClient.Log = namespace, log
	kubeClient := &client{
		Client: helmClient, ctx: ctx, dynamic: dynamicClient, discovery: cluster.Discovery, mapper: freshMapper{cluster.Mapper},
	}
	// The driver's own log is left silent: it prints Secrets that it can't read.
	return &operation{
		helm: &action.Configuration{
			RESTClientGetter: getter,
			Releases:         storage.Init(driver.NewSecrets(clientset.CoreV1().Secrets(namespace))),
			KubeClient:       kubeClient,
			Log:              log,
			HookOutputFunc:   func(_, _, _ string) io.Writer { return io.Discard },
		},
		deleteErrors: func() []error { return kubeClient.deleteErrors },
		remains:      kubeClient,
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
	hash, err := hashValues(release.Values)
	if err != nil {
		return Outcome{}, err
	}
	op, err := m.begin(ctx, cluster, release.Namespace, release.Sensitive)
	if err != nil {
		return Outcome{}, err
	}
	history, err := readHistory(op.helm.Releases, release.Name)
	if err != nil {
		return Outcome{}, err
	}
	outcome := Outcome{
		Chart: release.Chart.Name, Version: release.Chart.Version, AppVersion: release.Chart.AppVersion, Icon: release.Chart.Icon,
		ValuesHash: hash,
	}
	do, abandon := decide(history, target{release.Chart.Name, release.Chart.Version, hash, release.PostRenderHash})
	op.former = formerRevision(release, history, target{release.Chart.Name, release.Chart.Version, hash, release.PostRenderHash})
	if do == stepNone {
		outcome.Action, outcome.Revision = Unchanged, history[len(history)-1].Version
		return outcome, op.settle(history, m.options.MaxHistory)
	}
	if do != stepReinstall {
		if err := op.prepare(ctx, history, abandon, m.options); err != nil {
			return Outcome{}, err
		}
	}
	outcome.Action, outcome.Revision, err = m.perform(ctx, op, do, history, release, parsed)
	return outcome, err
}

// perform does one step, and takes away what those before it have left.
func (m *Manager) perform(ctx context.Context, op *operation, do step, history []*helmrelease.Release, release Release, parsed *chart.Chart) (Action, int, error) {
	var deployed *helmrelease.Release
	var err error
	result := Installed
	switch do {
	case stepReinstall:
		if err = m.uninstall(ctx, op, history); err != nil {
			return "", 0, fmt.Errorf("removing an attempt that failed: %w", err)
		}
		deployed, err = m.install(op, release, parsed)
	case stepInstall:
		deployed, err = m.install(op, release, parsed)
	case stepUpgrade:
		result = Upgraded
		deployed, err = m.change(op, release, parsed)
	}
	switch {
	case ctx.Err() != nil:
		return "", 0, fmt.Errorf("interrupted: %w", errors.Join(ctx.Err(), err))
	case err != nil:
		return "", 0, classify(err, release.Chart)
	}
	history, err = op.confirm(deployed)
	if err != nil {
		return "", 0, err
	}
	return result, deployed.Version, op.settle(history, m.options.MaxHistory)
}

func (m *Manager) install(op *operation, release Release, parsed *chart.Chart) (*helmrelease.Release, error) {
	install := action.NewInstall(op.helm)
	install.ReleaseName, install.Namespace = release.Name, release.Namespace
	install.CreateNamespace, install.Replace = true, true
	install.Timeout = m.options.Timeout
	install.PostRenderer, install.Labels = postRenderer(release), postRenderLabels(release, "")
	// Without a context of its own, Helm returns when it has ended. With one,
	// it would return at once and go on in the background.
	return install.Run(parsed, copyValues(release.Values))
}

func (m *Manager) upgrade(op *operation, release Release, parsed *chart.Chart) (*helmrelease.Release, error) {
	upgrade := action.NewUpgrade(op.helm)
	upgrade.Namespace = release.Namespace
	upgrade.MaxHistory = 0 // settle sees to it
	upgrade.Timeout = m.options.Timeout
	// The values are all that there are: those of the last revision don't count.
	upgrade.ResetValues = true
	// Helm takes over the labels of the last revision; its word for none is null.
	upgrade.PostRenderer, upgrade.Labels = postRenderer(release), postRenderLabels(release, "null")
	return upgrade.Run(release.Name, parsed, copyValues(release.Values))
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

// Uninstall removes a release with its history. One that is gone is no error.
func (m *Manager) Uninstall(ctx context.Context, cluster Cluster, namespace, name string) error {
	op, err := m.begin(ctx, cluster, namespace, nil)
	if err != nil {
		return err
	}
	history, err := readHistory(op.helm.Releases, name)
	if err != nil || len(history) == 0 {
		return err
	}
	return m.uninstall(ctx, op, history)
}

// uninstall removes what the last revision has made, which is all that Helm
// knows of, and before that what it had not come to delete of others.
func (m *Manager) uninstall(ctx context.Context, op *operation, history []*helmrelease.Release) error {
	last := history[len(history)-1]
	if last.Info.Status != helmrelease.StatusUninstalled {
		if err := op.clearHooks(last, m.options.Timeout); err != nil {
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
	uninstall.Timeout = m.options.Timeout
	uninstall.DeletionPropagation = "background"
	_, err := uninstall.Run(last.Name)
	if err == nil {
		return nil
	}
	return &shortError{errors.Join(ctx.Err(), err, errors.Join(op.deleteErrors()...))}
}
