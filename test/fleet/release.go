// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// release is the name that the chart is installed under.
const release = "muster"

// componentLabel tells the Pods of the chart apart.
const componentLabel = "app.kubernetes.io/component"

// Helm is the Helm of bin/ as administrator of the host, in Muster's namespace.
// It shares nothing with the user's own.
func (f *Fleet) Helm(ctx context.Context, args ...string) (string, error) {
	home := filepath.Join(f.dir, "helm")
	cmd := exec.CommandContext(ctx, filepath.Join(f.options.Bin, "helm"), append(args, "--namespace="+Namespace)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+f.Host.DirectKubeconfigFile(),
		"HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("helm %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// FollowRelease does for the chart that was installed with Helm, in a fleet
// WithoutMuster, what a host's nodes and network would do: it runs the Job that
// makes Secrets, the members of etcd and as many replicas as the Deployment has,
// with the arguments of the release's own manifest, leads the Service to them,
// and reports the Pods as ready. After an upgrade it follows the number of
// replicas.
func (f *Fleet) FollowRelease(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	m, first := f.Muster, f.Muster == nil
	if first {
		var err error
		if m, err = newEmptyMuster(f); err != nil {
			return err
		}
	}
	manifest, err := f.Helm(ctx, "get", "manifest", release)
	if err != nil {
		return err
	}
	shipped := &manifests{}
	if err := errors.Join(shipped.read([]byte(manifest), m.port.number), shipped.complete("the release")); err != nil {
		return err
	}
	m.shipped = shipped
	if err := m.leadToLocalhost(ctx); err != nil {
		return err
	}
	if first {
		err = f.runRelease(ctx, m)
	} else {
		err = m.scale(ctx, f)
	}
	if err != nil {
		return err
	}
	return f.reportPods(ctx)
}

// runRelease starts everything for the first time.
func (f *Fleet) runRelease(ctx context.Context, m *Muster) error {
	if err := m.newReplicas(f, m.shipped.replicas); err != nil {
		return err
	}
	f.Muster = m // from here on Stop ends what runs
	if err := m.startAround(ctx); err != nil {
		return err
	}
	return m.Start(ctx)
}

// EndRelease ends all processes of a release that Helm has uninstalled, as nodes
// do when Pods are deleted.
func (f *Fleet) EndRelease(ctx context.Context) error {
	m := f.Muster
	f.Muster = nil
	defer m.shutdown()
	for _, servers := range [][]*Server{m.replicas, m.members} {
		group, ending := errgroup.WithContext(ctx)
		for _, s := range servers {
			group.Go(func() error { return s.Stop(ending) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// leadToLocalhost makes the one change that processes outside the cluster need,
// as loadManifests does. What Helm upgrades afterwards keeps it.
func (m *Muster) leadToLocalhost(ctx context.Context) error {
	patches := [][2]string{{"service/" + serviceName, `{"spec":{"type":"ExternalName","externalName":"localhost"}}`}}
	for _, name := range m.shipped.apiServices {
		patches = append(patches, [2]string{"apiservice/" + name, fmt.Sprintf(`{"spec":{"service":{"port":%d}}}`, m.port.number)})
	}
	for _, patch := range patches {
		if _, err := m.host.Kubectl().Run(ctx, "patch", patch[0], "--namespace="+Namespace, "--type=merge", "--patch="+patch[1]); err != nil {
			return err
		}
	}
	return nil
}

// scale starts replicas or ends the latest.
func (m *Muster) scale(ctx context.Context, f *Fleet) error {
	group, starting := errgroup.WithContext(ctx)
	for i := len(m.replicas); i < m.shipped.replicas; i++ {
		replica, err := m.newReplicaBehind(f, fmt.Sprintf("muster-%d", i))
		if err != nil {
			return err
		}
		if err := m.identify(ctx, ServiceAccount, m.kubeconfigOf(replica.Name()), replica.Host.Address()); err != nil {
			return err
		}
		if err := replica.openWays(ctx); err != nil {
			return err
		}
		m.replicas = append(m.replicas, replica)
		group.Go(func() error { return replica.Start(starting) })
		m.front.add(replica.Address())
	}
	for _, replica := range m.replicas[m.shipped.replicas:] {
		group.Go(func() error {
			err := replica.Stop(starting)
			replica.shutdown()
			return err
		})
	}
	m.replicas = slices.Clip(m.replicas[:m.shipped.replicas])
	return group.Wait()
}

// reportPods reports, as nodes would, that what the processes stand for is ready,
// and that the Job has succeeded.
func (f *Fleet) reportPods(ctx context.Context) error {
	client, err := f.hostClient()
	if err != nil {
		return err
	}
	for component, want := range map[string]int{"server": f.Muster.shipped.replicas, "etcd": f.Muster.shipped.members} {
		if err := reportPods(ctx, client, componentLabel+"="+component, want, corev1.PodRunning); err != nil {
			return err
		}
	}
	return reportPods(ctx, client, componentLabel+"=prepare", 1, corev1.PodSucceeded)
}

// reportPods waits until there are so many Pods and gives each that phase.
func reportPods(ctx context.Context, client kubernetes.Interface, selector string, count int, phase corev1.PodPhase) error {
	pods := client.CoreV1().Pods(Namespace)
	return Await(ctx, func(ctx context.Context) error {
		list, err := pods.List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return err
		}
		if len(list.Items) != count {
			return fmt.Errorf("%d Pods have the label %s, want %d", len(list.Items), selector, count)
		}
		for i := range list.Items {
			pod := &list.Items[i]
			pod.Status.Phase = phase
			ready := corev1.ConditionTrue
			if phase != corev1.PodRunning {
				ready = corev1.ConditionFalse
			}
			pod.Status.Conditions = []corev1.PodCondition{
				{Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.Now()},
				{Type: corev1.ContainersReady, Status: ready, LastTransitionTime: metav1.Now()},
			}
			// A conflict comes from the controller that owns the Pod: once more.
			if _, err := pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
				return fmt.Errorf("reporting Pod %s: %w", pod.Name, err)
			}
		}
		return nil
	})
}

// RunJob waits for the Job of a component, runs what its Pod would run, with its
// arguments and as its ServiceAccount, calls between, and reports that the Pod
// has succeeded.
func (f *Fleet) RunJob(ctx context.Context, component string, between func(ctx context.Context) error) error {
	client, err := f.hostClient()
	if err != nil {
		return err
	}
	var job *batchv1.Job
	if err := Await(ctx, func(ctx context.Context) error {
		list, err := client.BatchV1().Jobs(Namespace).List(ctx, metav1.ListOptions{LabelSelector: componentLabel + "=" + component})
		if err == nil && len(list.Items) == 0 {
			err = apierrors.NewNotFound(batchv1.Resource("jobs"), component)
		}
		if err != nil {
			return err
		}
		job = &list.Items[0]
		return nil
	}); err != nil {
		return fmt.Errorf("waiting for the Job of %s: %w", component, err)
	}
	pod := job.Spec.Template.Spec
	file := filepath.Join(f.dir, component+".kubeconfig")
	if err := (&Muster{host: f.Host}).identify(ctx, pod.ServiceAccountName, file, f.Host.Address()); err != nil {
		return err
	}
	args := append(slices.Clone(pod.Containers[0].Args), "--kubeconfig="+file)
	if out, err := exec.CommandContext(ctx, filepath.Join(f.options.Bin, "muster"), args...).CombinedOutput(); err != nil {
		return fmt.Errorf("muster %s: %w: %s", component, err, strings.TrimSpace(string(out)))
	}
	if err := between(ctx); err != nil {
		return err
	}
	return reportPods(ctx, client, "job-name="+job.Name, 1, corev1.PodSucceeded)
}

func (f *Fleet) hostClient() (kubernetes.Interface, error) {
	config, err := f.Host.RESTConfig()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client of the host: %w", err)
	}
	return client, nil
}
