// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/printers"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// dryRunQuery is what "show dryrun" is asked for.
type dryRunQuery struct {
	genericiooptions.IOStreams
	flags *genericclioptions.ConfigFlags

	cluster string
	profile string
	rawDiff bool
	output  string
}

func newShowDryRun(streams genericiooptions.IOStreams) *cobra.Command {
	q := &dryRunQuery{IOStreams: streams, flags: hostFlags()}
	command := &cobra.Command{
		Use:   "dryrun",
		Short: "Show what profiles in mode DryRun would change, and in which cluster",
		Args:  cobra.NoArgs,
		RunE:  func(command *cobra.Command, _ []string) error { return q.run(command.Context()) },
	}
	flags := command.Flags()
	q.flags.AddFlags(flags)
	flags.StringVar(&q.cluster, "cluster", "", "only what would change in clusters of this name")
	flags.StringVar(&q.profile, "profile", "", "only what this profile would change, as in ClusterProfile/kyverno")
	flags.BoolVar(&q.rawDiff, "raw-diff", false, "print the differences in place of the table")
	addOutputFlag(command, &q.output, "json", "yaml")
	return command
}

func (q *dryRunQuery) run(ctx context.Context) error {
	if err := checkOutput(q.output, "json", "yaml"); err != nil {
		return err
	}
	if err := checkProfile(q.profile); err != nil {
		return err
	}
	clients, err := connect(q.flags)
	if err != nil {
		return err
	}
	list, err := clients.muster.ConfigV1beta1().ClusterReports(*q.flags.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing ClusterReports: %w", err)
	}
	list.Items = slices.DeleteFunc(list.Items, func(r configv1beta1.ClusterReport) bool {
		return q.cluster != "" && r.Spec.ClusterName != q.cluster || q.profile != "" && profileOf(&r) != q.profile
	})
	slices.SortFunc(list.Items, func(a, b configv1beta1.ClusterReport) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Spec.ClusterName, b.Spec.ClusterName), cmp.Compare(a.Name, b.Name))
	})
	return q.print(list)
}

// profileOf is the profile of a report, as kind and name.
func profileOf(r *configv1beta1.ClusterReport) string {
	if name := r.Labels[libv1beta1.LabelProfileName]; name != "" {
		return configv1beta1.KindProfile + "/" + name
	}
	return configv1beta1.KindClusterProfile + "/" + r.Labels[libv1beta1.LabelClusterProfileName]
}

func (q *dryRunQuery) print(list *configv1beta1.ClusterReportList) error {
	list.SetGroupVersionKind(configv1beta1.SchemeGroupVersion.WithKind("ClusterReportList"))
	for i := range list.Items {
		list.Items[i].SetGroupVersionKind(configv1beta1.SchemeGroupVersion.WithKind(configv1beta1.KindClusterReport))
	}
	switch {
	case q.output == "json":
		return (&printers.JSONPrinter{}).PrintObj(list, q.Out)
	case q.output == "yaml":
		return (&printers.YAMLPrinter{}).PrintObj(list, q.Out)
	case q.rawDiff:
		printRawDiffs(q.Out, list.Items)
		return nil
	}
	printDryRunTable(q.Out, list.Items)
	return nil
}

// change is one row of the table: something of a profile in a cluster.
type change struct {
	cluster, kind, namespace, name, action, message, profile string
}

// changesOf are those of a report that are none of "No Action".
func changesOf(r *configv1beta1.ClusterReport) []change {
	cluster, profile := r.Spec.ClusterNamespace+"/"+r.Spec.ClusterName, profileOf(r)
	var out []change
	for _, release := range r.Status.ReleaseReports {
		out = append(out, change{cluster, "helm release", release.ReleaseNamespace, release.ReleaseName, release.Action, release.Message, profile})
	}
	for _, reports := range [][]configv1beta1.ResourceReport{r.Status.ResourceReports, r.Status.HelmResourceReports, r.Status.KustomizeResourceReports} {
		for i := range reports {
			o := &reports[i].Resource
			out = append(out, change{cluster, o.Group + ":" + o.Kind, o.Namespace, o.Name, reports[i].Action, reports[i].Message, profile})
		}
	}
	return out
}

// isDiff tells a message that is a difference from one that says why.
func isDiff(message string) bool { return strings.Contains(message, "\n@@ ") }

// printDryRunTable prints upstream's table, in which a difference has no place.
func printDryRunTable(out io.Writer, reports []configv1beta1.ClusterReport) {
	table := tablewriter.NewWriter(out)
	table.SetHeader([]string{"CLUSTER", "RESOURCE TYPE", "NAMESPACE", "NAME", "ACTION", "MESSAGE", "PROFILE"})
	for i := range reports {
		for _, c := range changesOf(&reports[i]) {
			message := c.message
			if isDiff(message) {
				message = "use --raw-diff to see full diff"
			}
			table.Append([]string{c.cluster, c.kind, c.namespace, c.name, c.action, message, c.profile})
		}
	}
	table.Render()
}

// printRawDiffs prints the differences one after another.
func printRawDiffs(out io.Writer, reports []configv1beta1.ClusterReport) {
	for i := range reports {
		for _, c := range changesOf(&reports[i]) {
			if isDiff(c.message) {
				fmt.Fprintf(out, "Profile: %s Cluster: %s\n%s\n", strings.Replace(c.profile, "/", ":", 1), c.cluster, c.message)
			}
		}
	}
}
