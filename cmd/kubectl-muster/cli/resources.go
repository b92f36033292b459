// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// resourceQuery is what "show resources" is asked for.
type resourceQuery struct {
	genericiooptions.IOStreams
	flags *genericclioptions.ConfigFlags

	group            string
	kind             string
	clusterNamespace string
	cluster          string
	output           string
}

// resource is an object that profiles have deployed to a cluster.
type resource struct {
	// Cluster is a namespace and a name, as in civo/cluster1.
	Cluster   string `json:"cluster"`
	Group     string `json:"group"`
	Version   string `json:"version"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// Message says by which profile it was deployed, and when.
	Message string `json:"message,omitempty"`
}

func newShowResources(streams genericiooptions.IOStreams) *cobra.Command {
	q := &resourceQuery{IOStreams: streams, flags: hostFlags()}
	command := &cobra.Command{
		Use:   "resources",
		Short: "Show the objects that profiles have deployed, cluster by cluster",
		Long: "Show the objects of policyRefs and kustomizationRefs that profiles have deployed, cluster by cluster. " +
			"--namespace is that of the objects, --cluster-namespace that of the clusters.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return q.run(command.Context()) },
	}
	flags := command.Flags()
	q.flags.AddFlags(flags)
	flags.StringVar(&q.group, "group", "", "only objects of this API group")
	flags.StringVar(&q.kind, "kind", "", "only objects of this kind")
	flags.StringVar(&q.clusterNamespace, "cluster-namespace", "", "only objects on clusters of this namespace")
	flags.StringVar(&q.cluster, "cluster", "", "only objects on clusters of this name")
	addOutputFlag(command, &q.output, "json", "yaml")
	return command
}

func (q *resourceQuery) run(ctx context.Context) error {
	if err := checkOutput(q.output, "json", "yaml"); err != nil {
		return err
	}
	clients, err := connect(q.flags)
	if err != nil {
		return err
	}
	list, err := clients.muster.ConfigV1beta1().ClusterConfigurations(q.clusterNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing ClusterConfigurations: %w", err)
	}
	found := slices.DeleteFunc(resourcesOf(list.Items), func(r resource) bool { return !q.wants(r) })
	if q.output != "" {
		return printData(q.Out, q.output, found)
	}
	rows := make([][]string, len(found))
	for i, r := range found {
		// Upstream's form: the core group is "/v1, Kind=Pod".
		gvk := schema.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind}
		rows[i] = []string{r.Cluster, gvk.String(), r.Namespace, r.Name, r.Message}
	}
	printBorderedTable(q.Out, []string{"CLUSTER", "GVK", "NAMESPACE", "NAME", "MESSAGE"}, rows)
	return nil
}

func (q *resourceQuery) wants(r resource) bool {
	_, cluster, _ := strings.Cut(r.Cluster, "/")
	return (q.group == "" || r.Group == q.group) && (q.kind == "" || r.Kind == q.kind) &&
		(q.cluster == "" || cluster == q.cluster) && (*q.flags.Namespace == "" || r.Namespace == *q.flags.Namespace)
}

// resourcesOf are the objects in configurations, ordered by cluster, kind and name.
func resourcesOf(configurations []configv1beta1.ClusterConfiguration) []resource {
	out := []resource{}
	for i := range configurations {
		c := &configurations[i]
		// Its name begins with the cluster's type.
		cluster := c.Namespace + "/" + c.Labels[libv1beta1.LabelClusterName]
		for _, p := range c.Status.ClusterProfileResources {
			out = appendResources(out, cluster, configv1beta1.KindClusterProfile+"/"+p.ClusterProfileName, p.Features)
		}
		for _, p := range c.Status.ProfileResources {
			out = appendResources(out, cluster, configv1beta1.KindProfile+"/"+p.ProfileName, p.Features)
		}
	}
	key := func(r resource) []string {
		return []string{r.Cluster, r.Group, r.Kind, r.Namespace, r.Name, r.Message}
	}
	slices.SortFunc(out, func(a, b resource) int { return slices.Compare(key(a), key(b)) })
	return out
}

func appendResources(out []resource, cluster, profile string, features []configv1beta1.Feature) []resource {
	for _, feature := range features {
		for i := range feature.Resources {
			r := &feature.Resources[i]
			message := "deployed by " + profile
			if r.LastAppliedTime != nil {
				message += ", " + timeCell(r.LastAppliedTime)
			}
			out = append(out, resource{
				Cluster: cluster, Group: r.Group, Version: r.Version, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name, Message: message,
			})
		}
	}
	return out
}
