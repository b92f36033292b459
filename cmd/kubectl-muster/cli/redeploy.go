// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

func newRedeploy(streams genericiooptions.IOStreams) *cobra.Command {
	command := &cobra.Command{Use: "redeploy", Short: "Deploy again what is deployed already"}
	command.AddCommand(newRedeployCluster(streams))
	return command
}

func newRedeployCluster(streams genericiooptions.IOStreams) *cobra.Command {
	flags := hostFlags()
	var cluster, clusterType string
	command := &cobra.Command{
		Use:   "cluster --namespace=NAMESPACE --cluster=NAME",
		Short: "Apply everything on one cluster again, also what has not changed",
		Long: "Apply everything that profiles deploy to one cluster again, also what has not changed since it was applied. " +
			"It takes the right to patch ClusterSummaries, which administrators of the host cluster have.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			switch {
			case *flags.Namespace == "":
				return errors.New("--namespace is required: the namespace that the cluster is registered in")
			case cluster == "":
				return errors.New("--cluster is required: the name that the cluster is registered under")
			case clusterType != string(libv1beta1.ClusterTypeSveltos):
				return fmt.Errorf("--cluster-type=%s is not supported, only %s", clusterType, libv1beta1.ClusterTypeSveltos)
			}
			clients, err := connect(flags)
			if err != nil {
				return err
			}
			return redeployCluster(command.Context(), streams, clients, *flags.Namespace, cluster, time.Now())
		},
	}
	flags.AddFlags(command.Flags())
	command.Flags().StringVar(&cluster, "cluster", "", "name of the cluster")
	command.Flags().StringVar(&clusterType, "cluster-type", string(libv1beta1.ClusterTypeSveltos), "type of the cluster")
	return command
}

// redeployCluster marks the summaries of a cluster. One that cannot be marked keeps
// none of the others from it.
func redeployCluster(ctx context.Context, streams genericiooptions.IOStreams, clients *clients, namespace, cluster string, now time.Time) error {
	if _, err := clients.muster.LibV1beta1().SveltosClusters(namespace).Get(ctx, cluster, metav1.GetOptions{}); err != nil {
		return fmt.Errorf("looking for the cluster: %w", err)
	}
	summaries := clients.muster.ConfigV1beta1().ClusterSummaries(namespace)
	list, err := summaries.List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.clusterName", cluster).String()})
	if err != nil {
		return fmt.Errorf("listing the ClusterSummaries of %s/%s: %w", namespace, cluster, err)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{libv1beta1.AnnotationRetrigger: now.UTC().Format(time.RFC3339Nano)},
	}})
	if err != nil {
		return fmt.Errorf("encoding the annotation: %w", err)
	}
	var errs []error
	marked := 0
	for i := range list.Items {
		if list.Items[i].Spec.ClusterName != cluster {
			continue
		}
		_, err := summaries.Patch(ctx, list.Items[i].Name, types.MergePatchType, patch, metav1.PatchOptions{})
		switch {
		case apierrors.IsNotFound(err): // withdrawn meanwhile
		case err != nil:
			errs = append(errs, fmt.Errorf("annotating ClusterSummary %s/%s: %w", namespace, list.Items[i].Name, err))
		default:
			marked++
		}
	}
	if len(errs) == 0 {
		fmt.Fprintf(streams.Out, "cluster %s/%s: what %d profiles deploy is applied again\n", namespace, cluster, marked)
	}
	return errors.Join(errs...)
}
