// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// usageKinds are the kinds that "show usage" knows the use of.
var usageKinds = []string{
	configv1beta1.KindClusterProfile, configv1beta1.KindProfile,
	configv1beta1.SourceKindConfigMap, configv1beta1.SourceKindSecret,
}

// usageQuery is what "show usage" is asked for.
type usageQuery struct {
	genericiooptions.IOStreams
	flags *genericclioptions.ConfigFlags

	kind   string
	name   string
	output string
}

// usage says on which clusters something is used.
type usage struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// Clusters are namespaces and names, as in civo/cluster1.
	Clusters []string `json:"clusters"`
}

func newShowUsage(streams genericiooptions.IOStreams) *cobra.Command {
	q := &usageQuery{IOStreams: streams, flags: hostFlags()}
	command := &cobra.Command{
		Use:   "usage",
		Short: "Show on which clusters profiles, ConfigMaps and Secrets are used",
		Long: "Show on which clusters profiles, ConfigMaps and Secrets are used. " +
			"A reference whose name is a template is shown as it is written in the profile.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return q.run(command.Context()) },
	}
	flags := command.Flags()
	q.flags.AddFlags(flags)
	flags.StringVar(&q.kind, "kind", "", "only this kind: "+strings.Join(usageKinds, ", "))
	flags.StringVar(&q.name, "name", "", "only what has this name")
	_ = command.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions(usageKinds, cobra.ShellCompDirectiveNoFileComp))
	addOutputFlag(command, &q.output, "json", "yaml")
	return command
}

func (q *usageQuery) run(ctx context.Context) error {
	if err := checkOutput(q.output, "json", "yaml"); err != nil {
		return err
	}
	if q.kind != "" && !slices.Contains(usageKinds, q.kind) {
		return fmt.Errorf("unknown --kind %q: use one of %s", q.kind, strings.Join(usageKinds, ", "))
	}
	clients, err := connect(q.flags)
	if err != nil {
		return err
	}
	// Of all namespaces: --namespace is that of what is used, and not of a cluster.
	list, err := clients.muster.ConfigV1beta1().ClusterSummaries(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing ClusterSummaries: %w", err)
	}
	used := slices.DeleteFunc(usagesOf(list.Items), func(u usage) bool { return !q.wants(u) })
	if q.output != "" {
		return printData(q.Out, q.output, used)
	}
	rows := make([][]string, len(used))
	for i, u := range used {
		rows[i] = []string{u.Kind, u.Namespace, u.Name, strings.Join(u.Clusters, "\n")}
	}
	printBorderedTable(q.Out, []string{"RESOURCE KIND", "RESOURCE NAMESPACE", "RESOURCE NAME", "CLUSTERS"}, rows)
	return nil
}

func (q *usageQuery) wants(u usage) bool {
	return (q.kind == "" || u.Kind == q.kind) && (q.name == "" || u.Name == q.name) &&
		(*q.flags.Namespace == "" || u.Namespace == *q.flags.Namespace)
}

// used identifies what is used.
type used struct{ kind, namespace, name string }

// usagesOf gathers from the summaries, of which there is one for each profile and
// cluster, what is used where, ordered by kind, namespace and name.
func usagesOf(summaries []configv1beta1.ClusterSummary) []usage {
	clusters := map[used]map[string]bool{}
	for i := range summaries {
		summary := &summaries[i]
		cluster := summary.Spec.ClusterNamespace + "/" + summary.Spec.ClusterName
		for _, u := range append(profilesOf(summary), references(summary)...) {
			if clusters[u] == nil {
				clusters[u] = map[string]bool{}
			}
			clusters[u][cluster] = true
		}
	}
	out := []usage{}
	for u, on := range clusters {
		out = append(out, usage{Kind: u.kind, Namespace: u.namespace, Name: u.name, Clusters: slices.Sorted(maps.Keys(on))})
	}
	slices.SortFunc(out, func(a, b usage) int {
		return slices.Compare([]string{a.Kind, a.Namespace, a.Name}, []string{b.Kind, b.Namespace, b.Name})
	})
	return out
}

// profilesOf is the profile that a summary belongs to, none if somebody took its
// owner away.
func profilesOf(summary *configv1beta1.ClusterSummary) []used {
	owner := metav1.GetControllerOf(summary)
	if owner == nil {
		return nil
	}
	out := used{kind: owner.Kind, name: owner.Name}
	if owner.Kind == configv1beta1.KindProfile {
		out.namespace = summary.Namespace
	}
	return []used{out}
}

// references are the ConfigMaps and Secrets that a profile names. A reference
// without a namespace means the cluster's.
func references(summary *configv1beta1.ClusterSummary) []used {
	var out []used
	add := func(kind, namespace, name string) {
		if kind != configv1beta1.SourceKindConfigMap && kind != configv1beta1.SourceKindSecret {
			return
		}
		if namespace == "" {
			namespace = summary.Spec.ClusterNamespace
		}
		out = append(out, used{kind: kind, namespace: namespace, name: name})
	}
	secret := func(ref *libv1beta1.SecretReference) {
		if ref != nil {
			add(configv1beta1.SourceKindSecret, ref.Namespace, ref.Name)
		}
	}
	values := func(refs []configv1beta1.ValueFrom) {
		for _, ref := range refs {
			add(ref.Kind, ref.Namespace, ref.Name)
		}
	}
	spec := &summary.Spec.ClusterProfileSpec
	for i := range spec.PolicyRefs {
		ref := &spec.PolicyRefs[i]
		add(ref.Kind, ref.Namespace, ref.Name)
		if ref.RemoteURL != nil {
			secret(ref.RemoteURL.SecretRef)
		}
	}
	for i := range spec.KustomizationRefs {
		ref := &spec.KustomizationRefs[i]
		add(ref.Kind, ref.Namespace, ref.Name)
		values(ref.ValuesFrom)
		if ref.RemoteURL != nil {
			secret(ref.RemoteURL.SecretRef)
		}
	}
	for i := range spec.HelmCharts {
		values(spec.HelmCharts[i].ValuesFrom)
		chartSecrets(&spec.HelmCharts[i], secret)
	}
	for i := range spec.TemplateResourceRefs {
		ref := &spec.TemplateResourceRefs[i].Resource
		add(ref.Kind, ref.Namespace, ref.Name)
	}
	values(spec.PatchesFrom)
	checkSources(spec, add, secret)
	return out
}

// checkSources visits what the checks of a profile refer to.
func checkSources(spec *configv1beta1.ProfileSpec, visit func(kind, namespace, name string), visitSecret func(*libv1beta1.SecretReference)) {
	for _, checks := range [][]libv1beta1.ValidateHealth{spec.PreDeployChecks, spec.ValidateHealths, spec.PreDeleteChecks, spec.PostDeleteChecks} {
		for i := range checks {
			if source := checks[i].MetricSource; source != nil {
				visitSecret(source.SecretRef)
			}
			if job := checks[i].JobCheck; job != nil {
				visit(job.JobRef.Kind, job.JobRef.Namespace, job.JobRef.Name)
			}
		}
	}
}

// chartSecrets visits the Secrets that a chart is fetched and verified with.
func chartSecrets(chart *configv1beta1.HelmChart, visit func(*libv1beta1.SecretReference)) {
	if chart.RegistryCredentialsConfig != nil {
		visit(chart.RegistryCredentialsConfig.Credentials)
		visit(chart.RegistryCredentialsConfig.CA)
	}
	if chart.ProvenanceVerification != nil {
		visit(&chart.ProvenanceVerification.KeyringSecretRef)
	}
	if chart.SignatureVerification != nil {
		visit(chart.SignatureVerification.SecretRef)
	}
}
