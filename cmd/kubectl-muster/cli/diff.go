// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

// Statuses of diff, as of kubectl diff.
const (
	exitDifferences = 1
	exitFailure     = 2
)

// diffQuery is what "diff" is asked for.
type diffQuery struct {
	genericiooptions.IOStreams
	flags *genericclioptions.ConfigFlags

	cluster string
	output  string
}

func newDiff(streams genericiooptions.IOStreams) *cobra.Command {
	q := &diffQuery{IOStreams: streams, flags: hostFlags()}
	command := &cobra.Command{
		Use:   "diff PROFILE",
		Short: "Show what applying a profile now would change, and change nothing",
		Long: "Show what applying a ClusterProfile now would change, removals included, and change nothing. " +
			"With --namespace the name is that of a Profile in that namespace. Values of Secrets are masked.\n\n" +
			"Exit status: 0 if nothing would change, 1 if something would, 2 if that could not be found out.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			err := q.run(command.Context(), args[0])
			var exit *ExitError
			if err == nil || errors.As(err, &exit) {
				return err
			}
			return &ExitError{Code: exitFailure, Err: err}
		},
	}
	flags := command.Flags()
	q.flags.AddFlags(flags)
	flags.StringVar(&q.cluster, "cluster", "", "only what would change in this cluster, as in namespace/name")
	addOutputFlag(command, &q.output, "json", "yaml")
	return command
}

func (q *diffQuery) run(ctx context.Context, name string) error {
	if err := checkOutput(q.output, "json", "yaml"); err != nil {
		return err
	}
	clients, err := connect(q.flags)
	if err != nil {
		return err
	}
	body, err := q.read(ctx, clients, name)
	if err != nil {
		return fmt.Errorf("reading the diff of %s: %w", name, err)
	}
	diff := &configv1beta1.Diff{}
	if err := json.Unmarshal(body, diff); err != nil {
		return fmt.Errorf("the answer is no diff: %w", err)
	}
	if err := q.print(body, diff); err != nil {
		return err
	}
	return outcome(diff)
}

func (q *diffQuery) read(ctx context.Context, clients *clients, name string) ([]byte, error) {
	request := clients.muster.ConfigV1beta1().RESTClient().Verb(http.MethodGet)
	if *q.flags.Namespace != "" {
		request = request.Namespace(*q.flags.Namespace).Resource("profiles")
	} else {
		request = request.Resource("clusterprofiles")
	}
	request = request.Name(name).SubResource("diff").SetHeader("Accept", acceptJSON)
	if q.cluster != "" {
		request = request.Param("cluster", q.cluster)
	}
	return answerTo(ctx, request)
}

func (q *diffQuery) print(body []byte, diff *configv1beta1.Diff) error {
	if q.output != "" {
		return printAnswer(q.Out, q.output, body)
	}
	for i := range diff.Clusters {
		printClusterDiff(q.Out, q.ErrOut, &diff.Clusters[i])
	}
	return nil
}

// printClusterDiff prints what would change, with differences below what they are of, and
// to the other stream what went wrong.
func printClusterDiff(out, failures io.Writer, d *configv1beta1.ClusterDiff) {
	cluster := d.Cluster.Namespace + "/" + d.Cluster.Name
	for _, warning := range d.Warnings {
		fmt.Fprintf(failures, "Warning: %s: %s\n", cluster, warning)
	}
	if d.FailureMessage != "" {
		fmt.Fprintf(failures, "Error: %s: %s\n", cluster, d.FailureMessage)
	}
	line := func(action, what, message string) {
		if action == noAction {
			return
		}
		if message == "" || isDiff(message) {
			fmt.Fprintf(out, "%s: %s %s\n", cluster, action, what)
		} else {
			fmt.Fprintf(out, "%s: %s %s: %s\n", cluster, action, what, strings.TrimSpace(message))
		}
		if isDiff(message) {
			fmt.Fprintln(out, strings.TrimSuffix(message, "\n"))
		}
	}
	for _, r := range d.Releases {
		line(r.Action, "release "+r.ReleaseNamespace+"/"+r.ReleaseName, r.Message)
	}
	for i := range d.Resources {
		o := &d.Resources[i]
		line(o.Action, objectName(&o.Resource), o.Message)
	}
}

func objectName(o *configv1beta1.DeployedResource) string {
	kind := o.Kind
	if o.Group != "" {
		kind += "." + o.Group
	}
	if o.Namespace == "" {
		return kind + " " + o.Name
	}
	return kind + " " + o.Namespace + "/" + o.Name
}

// noAction is the action on what stays as it is.
const noAction = "No Action"

// outcome is the exit status that a diff means.
func outcome(diff *configv1beta1.Diff) error {
	code := 0
	for i := range diff.Clusters {
		d := &diff.Clusters[i]
		if d.FailureMessage != "" {
			return &ExitError{Code: exitFailure}
		}
		for _, r := range d.Releases {
			if r.Action != noAction {
				code = exitDifferences
			}
		}
		for j := range d.Resources {
			if d.Resources[j].Action != noAction {
				code = exitDifferences
			}
		}
	}
	if code != 0 {
		return &ExitError{Code: code}
	}
	return nil
}
