// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/olekukonko/tablewriter"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/printers"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

func newShow(streams genericiooptions.IOStreams) *cobra.Command {
	show := &cobra.Command{Use: "show", Short: "Show what is deployed"}
	show.AddCommand(newShowAddons(streams), newShowDryRun(streams), newShowUsage(streams), newShowResources(streams))
	return show
}

// addonQuery is what "show addons" is asked for.
type addonQuery struct {
	genericiooptions.IOStreams
	flags *genericclioptions.ConfigFlags

	cluster string
	profile string
	charts  bool
	objects bool
	output  string
}

func newShowAddons(streams genericiooptions.IOStreams) *cobra.Command {
	q := &addonQuery{IOStreams: streams, flags: hostFlags()}
	command := &cobra.Command{
		Use:   "addons",
		Short: "Show what is deployed to which cluster, and by which profile",
		Args:  cobra.NoArgs,
		RunE:  func(command *cobra.Command, _ []string) error { return q.run(command.Context()) },
	}
	flags := command.Flags()
	q.flags.AddFlags(flags)
	flags.StringVar(&q.cluster, "cluster", "", "only what is deployed to clusters of this name")
	flags.StringVar(&q.profile, "profile", "", "only what this profile deploys, as in ClusterProfile/kyverno")
	flags.BoolVar(&q.charts, "helm-charts", false, "only Helm charts")
	flags.BoolVar(&q.objects, "resources", false, "only objects")
	addOutputFlag(command, &q.output, "json", "yaml", "wide", "name")
	return command
}

func (q *addonQuery) run(ctx context.Context) error {
	if err := checkOutput(q.output, "json", "yaml", "wide", "name"); err != nil {
		return err
	}
	if err := checkProfile(q.profile); err != nil {
		return err
	}
	clients, err := connect(q.flags)
	if err != nil {
		return err
	}
	list, err := clients.muster.ConfigV1beta1().Addons(*q.flags.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing addons: %w", err)
	}
	list.Items = slices.DeleteFunc(list.Items, func(a configv1beta1.Addon) bool { return !q.wants(&a) })
	slices.SortFunc(list.Items, compareAddons)
	return q.print(list)
}

// wants applies the filters of the command line.
func (q *addonQuery) wants(addon *configv1beta1.Addon) bool {
	isChart := addon.ResourceType == configv1beta1.ResourceTypeHelmChart
	if q.charts != q.objects && q.charts != isChart {
		return false
	}
	return (q.cluster == "" || addon.Cluster.Name == q.cluster) &&
		(q.profile == "" || slices.Contains(addon.Profiles, q.profile))
}

func compareAddons(a, b configv1beta1.Addon) int {
	return slices.Compare(
		[]string{a.Cluster.Namespace, a.Cluster.Name, a.ResourceType, a.Namespace, a.Name},
		[]string{b.Cluster.Namespace, b.Cluster.Name, b.ResourceType, b.Namespace, b.Name})
}

func (q *addonQuery) print(list *configv1beta1.AddonList) error {
	list.SetGroupVersionKind(configv1beta1.SchemeGroupVersion.WithKind("AddonList"))
	for i := range list.Items {
		list.Items[i].SetGroupVersionKind(configv1beta1.SchemeGroupVersion.WithKind(configv1beta1.KindAddon))
	}
	switch q.output {
	case "json":
		return (&printers.JSONPrinter{}).PrintObj(list, q.Out)
	case "yaml":
		return (&printers.YAMLPrinter{}).PrintObj(list, q.Out)
	case "name":
		for i := range list.Items {
			fmt.Fprintf(q.Out, "addon.%s/%s\n", configv1beta1.GroupName, list.Items[i].ObjectMeta.Name)
		}
		return nil
	}
	printAddonTable(q.Out, list.Items, q.output == "wide")
	return nil
}

// printAddonTable prints upstream's table of seven columns; wide has the eighth
// that upstream added later.
func printAddonTable(out io.Writer, addons []configv1beta1.Addon, wide bool) {
	table := tablewriter.NewWriter(out)
	header := []string{"CLUSTER", "RESOURCE TYPE", "NAMESPACE", "NAME", "VERSION", "TIME"}
	if wide {
		header = append(header, "DEPLOYMENT TYPE")
	}
	table.SetHeader(append(header, "PROFILES"))
	for i := range addons {
		addon := &addons[i]
		row := []string{
			addon.Cluster.Namespace + "/" + addon.Cluster.Name, addon.ResourceType,
			addon.Namespace, addon.Name, versionCell(addon), timeCell(addon.LastAppliedTime),
		}
		if wide {
			row = append(row, deploymentCell(addon.DeploymentType))
		}
		table.Append(append(row, strings.Join(addon.Profiles, ";")))
	}
	table.Render()
}

func versionCell(addon *configv1beta1.Addon) string {
	if addon.Version == "" {
		return "N/A"
	}
	return addon.Version
}

func timeCell(at *metav1.Time) string {
	if at == nil {
		return "N/A"
	}
	return at.In(time.Local).String()
}

func deploymentCell(deploymentType libv1beta1.DeploymentType) string {
	if deploymentType == libv1beta1.DeploymentTypeLocal {
		return "Management cluster"
	}
	return "Managed cluster"
}
