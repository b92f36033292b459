// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet"
)

// kubeconfigKey is upstream's key of the kubeconfig in its Secret.
const kubeconfigKey = "kubeconfig"

func newRegister(streams genericiooptions.IOStreams) *cobra.Command {
	register := &cobra.Command{Use: "register", Short: "Add a cluster to the fleet"}
	register.AddCommand(newRegisterCluster(streams))
	for _, provider := range []string{"eks", "gke", "aks"} {
		register.AddCommand(&cobra.Command{
			Use: "cluster-" + provider, Hidden: true, DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error {
				return errors.New("registering with a cloud provider's identity is not supported yet; " +
					"use \"kubectl muster register cluster --kubeconfig\" with a kubeconfig that holds a token or a client certificate")
			},
		})
	}
	return register
}

// registration is what "register cluster" is asked for.
type registration struct {
	genericiooptions.IOStreams
	flags *genericclioptions.ConfigFlags

	cluster    string
	kubeconfig string
	labels     string
	wait       bool
	timeout    time.Duration

	// Upstream's other ways, refused with a reason.
	fleetContext string
	pullMode     bool
}

func newRegisterCluster(streams genericiooptions.IOStreams) *cobra.Command {
	r := &registration{IOStreams: streams, flags: hostFlags()}
	// --kubeconfig is the managed cluster's, as upstream has it.
	r.flags.KubeConfig = nil
	command := &cobra.Command{
		Use:   "cluster --namespace NAMESPACE --cluster NAME --kubeconfig FILE",
		Short: "Add a cluster to the fleet",
		Long: "Add a cluster to the fleet: store its kubeconfig in a Secret, and make the SveltosCluster that uses it. " +
			"Run again, it replaces both. The host cluster is the one of KUBECONFIG or --context.",
		Example: "  kubectl muster register cluster --namespace civo --cluster cluster1 --kubeconfig cluster1.yaml --labels env=prod --wait",
		Args:    cobra.NoArgs,
		RunE:    func(command *cobra.Command, _ []string) error { return r.run(command.Context()) },
	}
	flags := command.Flags()
	r.flags.AddFlags(flags)
	flags.StringVar(&r.cluster, "cluster", "", "name of the cluster")
	flags.StringVar(&r.kubeconfig, "kubeconfig", "", "file with the kubeconfig of the cluster to register")
	flags.StringVar(&r.labels, "labels", "", "labels of the cluster, as in env=prod,region=eu")
	flags.BoolVar(&r.wait, "wait", false, "wait until the cluster is ready")
	flags.DurationVar(&r.timeout, "timeout", time.Minute, "how long --wait waits")
	flags.StringVar(&r.fleetContext, "fleet-cluster-context", "", "not supported")
	flags.BoolVar(&r.pullMode, "pullmode", false, "not supported")
	_ = flags.MarkHidden("fleet-cluster-context")
	_ = flags.MarkHidden("pullmode")
	return command
}

func (r *registration) run(ctx context.Context) error {
	namespace := *r.flags.Namespace
	set, kubeconfig, err := r.check(namespace)
	if err != nil {
		return err
	}
	clients, err := connect(r.flags)
	if err != nil {
		return err
	}
	if err := r.checkExisting(ctx, clients, namespace); err != nil {
		return err
	}
	if err := ensureNamespace(ctx, clients, namespace); err != nil {
		return err
	}
	credentials, err := r.storeKubeconfig(ctx, clients, namespace, kubeconfig)
	if err != nil {
		return err
	}
	verb, err := r.storeCluster(ctx, clients, namespace, set)
	if err != nil {
		return err
	}
	fmt.Fprintf(r.Out, "cluster %s successfully %s in namespace %s.\n", r.cluster, verb, namespace)
	if !r.wait {
		return nil
	}
	return r.await(ctx, clients, namespace, credentials)
}

// check refuses what can be seen to be wrong before anything is written.
func (r *registration) check(namespace string) (labels.Set, []byte, error) {
	switch {
	case r.fleetContext != "":
		return nil, nil, errors.New("--fleet-cluster-context is not supported: it would make a cluster-admin in the cluster to register; " +
			"make a ServiceAccount with the rights that you want Muster to have, and pass its kubeconfig with --kubeconfig")
	case r.pullMode:
		return nil, nil, errors.New("--pullmode is not supported: Muster has no agent, it reaches clusters from here; pass --kubeconfig")
	case namespace == "":
		return nil, nil, errors.New("--namespace is required: the namespace that the cluster is registered in")
	case r.cluster == "":
		return nil, nil, errors.New("--cluster is required: the name to register the cluster under")
	case r.kubeconfig == "":
		return nil, nil, errors.New("--kubeconfig is required: the file with the kubeconfig of the cluster to register")
	}
	set, err := labels.ConvertSelectorToLabelsMap(r.labels)
	if err != nil {
		return nil, nil, fmt.Errorf("--labels %q: %w", r.labels, err)
	}
	kubeconfig, err := os.ReadFile(r.kubeconfig)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the cluster's kubeconfig: %w", err)
	}
	// The server's own rules: what it would refuse is said here and now.
	if _, err := fleet.ParseKubeconfig(kubeconfig); err != nil {
		return nil, nil, fmt.Errorf("%s cannot be used: %w", r.kubeconfig, err)
	}
	return set, kubeconfig, nil
}

// checkExisting refuses to store a kubeconfig that a registration would not use.
func (r *registration) checkExisting(ctx context.Context, clients *clients, namespace string) error {
	existing, err := clients.muster.LibV1beta1().SveltosClusters(namespace).Get(ctx, r.cluster, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading SveltosCluster %s/%s: %w", namespace, r.cluster, err)
	}
	spec := &existing.Spec
	if !hasOwnSecret(existing) || spec.WorkloadIdentity != nil || (spec.KubeconfigKeyName != "" && spec.KubeconfigKeyName != kubeconfigKey) {
		return fmt.Errorf("SveltosCluster %s/%s is not registered with what \"register\" stores: change it where it is, "+
			"or take kubeconfigName, kubeconfigKeyName and workloadIdentity from its spec first", namespace, r.cluster)
	}
	return nil
}

// hasOwnSecret says whether a cluster's kubeconfig is in the Secret that
// "register cluster" makes, and not in one that somebody else looks after.
func hasOwnSecret(cluster *libv1beta1.SveltosCluster) bool {
	return cluster.Spec.KubeconfigName == "" || cluster.Spec.KubeconfigName == cluster.Name+libv1beta1.KubeconfigSecretSuffix
}

func ensureNamespace(ctx context.Context, clients *clients, name string) error {
	_, err := clients.host.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		_, err = clients.host.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("making namespace %s: %w", name, err)
	}
	return nil
}

// storeKubeconfig returns the version that the kubeconfig is stored as.
func (r *registration) storeKubeconfig(ctx context.Context, clients *clients, namespace string, kubeconfig []byte) (string, error) {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: r.cluster + libv1beta1.KubeconfigSecretSuffix},
		Data:       map[string][]byte{kubeconfigKey: kubeconfig},
	}
	secrets := clients.host.CoreV1().Secrets(namespace)
	stored, err := secrets.Create(ctx, secret, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		stored, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
	}
	if err != nil {
		return "", fmt.Errorf("storing the kubeconfig in Secret %s/%s: %w", namespace, secret.Name, err)
	}
	return libv1beta1.CredentialsVersion(stored), nil
}

// storeCluster makes or changes the registration; labels that it has and that
// are not named here stay.
func (r *registration) storeCluster(ctx context.Context, clients *clients, namespace string, set labels.Set) (string, error) {
	clusters := clients.muster.LibV1beta1().SveltosClusters(namespace)
	existing, err := clusters.Get(ctx, r.cluster, metav1.GetOptions{})
	verb := "updated"
	switch {
	case apierrors.IsNotFound(err):
		verb = "registered"
		cluster := &libv1beta1.SveltosCluster{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: r.cluster, Labels: set}}
		_, err = clusters.Create(ctx, cluster, metav1.CreateOptions{})
	case err == nil:
		existing.Labels = labels.Merge(existing.Labels, set)
		_, err = clusters.Update(ctx, existing, metav1.UpdateOptions{})
	}
	if err != nil {
		return "", fmt.Errorf("registering SveltosCluster %s/%s: %w", namespace, r.cluster, err)
	}
	return verb, nil
}

// await returns when the cluster is ready with the credentials of this version, or
// says why it is not. That it is ready may speak of those that it had before.
func (r *registration) await(ctx context.Context, clients *clients, namespace, credentials string) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	clusters := clients.muster.LibV1beta1().SveltosClusters(namespace)
	byName := fields.OneTermEqualSelector(metav1.ObjectNameField, r.cluster).String()
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.FieldSelector = byName
			return clusters.List(ctx, options)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.FieldSelector = byName
			return clusters.Watch(ctx, options)
		},
	}
	last := "it was not probed with the new kubeconfig"
	_, err := watchtools.UntilWithSync(ctx, cache.ToListWatcherWithWatchListSemantics(source, clients.muster), &libv1beta1.SveltosCluster{}, nil, func(e watch.Event) (bool, error) {
		cluster, ok := e.Object.(*libv1beta1.SveltosCluster)
		if !ok || e.Type == watch.Deleted {
			return false, fmt.Errorf("the registration of %s/%s was deleted", namespace, r.cluster)
		}
		if cluster.Status.FailureMessage != nil {
			last = *cluster.Status.FailureMessage
		}
		return cluster.Status.Ready && libv1beta1.AcceptedCredentials(cluster.Status.Conditions) == credentials, nil
	})
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("cluster %s/%s is not ready after %s: %s", namespace, r.cluster, r.timeout, last)
	}
	if err != nil {
		return fmt.Errorf("waiting for cluster %s/%s: %w", namespace, r.cluster, err)
	}
	fmt.Fprintf(r.Out, "cluster %s is ready.\n", r.cluster)
	return nil
}

func newDeregister(streams genericiooptions.IOStreams) *cobra.Command {
	deregister := &cobra.Command{Use: "deregister", Short: "Remove a cluster from the fleet"}
	flags := hostFlags()
	var cluster string
	command := &cobra.Command{
		Use:   "cluster --namespace NAMESPACE --cluster NAME",
		Short: "Remove a cluster from the fleet",
		Long: "Remove a cluster from the fleet: delete its SveltosCluster and the Secret that \"register\" made for it. " +
			"What profiles deployed to it stays there; to have it withdrawn first, make the cluster stop matching and wait.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if cluster == "" || *flags.Namespace == "" {
				return errors.New("--namespace and --cluster are required")
			}
			clients, err := connect(flags)
			if err != nil {
				return err
			}
			return deregisterCluster(command.Context(), streams, clients, *flags.Namespace, cluster)
		},
	}
	flags.AddFlags(command.Flags())
	command.Flags().StringVar(&cluster, "cluster", "", "name of the cluster")
	deregister.AddCommand(command)
	return deregister
}

func deregisterCluster(ctx context.Context, streams genericiooptions.IOStreams, clients *clients, namespace, name string) error {
	clusters := clients.muster.LibV1beta1().SveltosClusters(namespace)
	cluster, err := clusters.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading SveltosCluster %s/%s: %w", namespace, name, err)
	}
	// The registration first: without its Secret it would only look broken.
	if err := clusters.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &cluster.UID}}); err != nil {
		return fmt.Errorf("deleting SveltosCluster %s/%s: %w", namespace, name, err)
	}
	if hasOwnSecret(cluster) {
		secret := name + libv1beta1.KubeconfigSecretSuffix
		err = clients.host.CoreV1().Secrets(namespace).Delete(ctx, secret, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("the cluster is deregistered, but deleting Secret %s/%s failed: %w", namespace, secret, err)
		}
	} else {
		// Other clusters may be registered with it.
		fmt.Fprintf(streams.Out, "Secret %s/%s with the kubeconfig stays: it was not made by \"register\".\n", namespace, cluster.Spec.KubeconfigName)
	}
	fmt.Fprintf(streams.Out, "cluster %s deregistered from namespace %s; what was deployed to it stays there.\n", name, namespace)
	return nil
}
