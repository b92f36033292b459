// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

// selectionQuery is what "selection" is asked for.
type selectionQuery struct {
	genericiooptions.IOStreams
	flags *genericclioptions.ConfigFlags

	reason string
	limit  int64
	watch  bool
	output string
}

func newSelection(streams genericiooptions.IOStreams) *cobra.Command {
	q := &selectionQuery{IOStreams: streams, flags: hostFlags()}
	command := &cobra.Command{
		Use:   "selection NAME",
		Short: "Show which clusters a set selects, and why not the others",
		Long: "Show which clusters a ClusterSet selects, and why not the others. " +
			"With --namespace the name is that of a Set in that namespace.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error { return q.run(command.Context(), args[0]) },
	}
	flags := command.Flags()
	q.flags.AddFlags(flags)
	flags.StringVar(&q.reason, "reason", "", "only clusters with this reason: "+strings.Join(reasons(), ", "))
	flags.Int64Var(&q.limit, "limit", 0, "how many candidates to show at most (default 100)")
	flags.BoolVarP(&q.watch, "watch", "w", false, "show the selection again whenever the set changes")
	addOutputFlag(command, &q.output, "json", "yaml", "wide")
	_ = command.RegisterFlagCompletionFunc("reason", cobra.FixedCompletions(reasons(), cobra.ShellCompDirectiveNoFileComp))
	return command
}

func reasons() []string {
	return []string{
		string(libv1beta1.SelectionSelected), string(libv1beta1.SelectionHeld), string(libv1beta1.SelectionStandby),
		string(libv1beta1.SelectionNotReady), string(libv1beta1.SelectionReturning), string(libv1beta1.SelectionNotMatching),
	}
}

func (q *selectionQuery) run(ctx context.Context, name string) error {
	if err := checkOutput(q.output, "json", "yaml", "wide"); err != nil {
		return err
	}
	clients, err := connect(q.flags)
	if err != nil {
		return err
	}
	if !q.watch {
		return q.show(ctx, clients, name)
	}
	// The watch begins before the first answer, so that no change is missed.
	changes, err := q.changes(ctx, clients, name)
	if err != nil {
		return err
	}
	defer changes.Stop()
	for event := range changes.ResultChan() {
		switch event.Type {
		case watch.Deleted:
			return fmt.Errorf("%s was deleted", name)
		case watch.Error:
			return fmt.Errorf("watching %s: %v", name, event.Object)
		}
		if err := q.show(ctx, clients, name); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// changes watches the set; what it selects is not watchable itself.
func (q *selectionQuery) changes(ctx context.Context, clients *clients, name string) (watch.Interface, error) {
	options := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()}
	if *q.flags.Namespace != "" {
		return clients.muster.LibV1beta1().Sets(*q.flags.Namespace).Watch(ctx, options)
	}
	return clients.muster.LibV1beta1().ClusterSets().Watch(ctx, options)
}

func (q *selectionQuery) show(ctx context.Context, clients *clients, name string) error {
	body, err := answerTo(ctx, q.request(clients.muster.LibV1beta1().RESTClient(), name, acceptFor(q.output)))
	if err != nil {
		return fmt.Errorf("reading the selection of %s: %w", name, err)
	}
	return printAnswer(q.Out, q.output, body)
}

func (q *selectionQuery) request(client rest.Interface, name, accept string) *rest.Request {
	request := client.Verb(http.MethodGet)
	if *q.flags.Namespace != "" {
		request = request.Namespace(*q.flags.Namespace).Resource("sets")
	} else {
		request = request.Resource("clustersets")
	}
	request = request.Name(name).SubResource("selection").SetHeader("Accept", accept)
	if q.reason != "" {
		request = request.Param("reason", q.reason)
	}
	if q.limit != 0 {
		request = request.Param("limit", strconv.FormatInt(q.limit, 10))
	}
	return request
}
