// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/yaml"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

// historyQuery is what "history" is asked for.
type historyQuery struct {
	genericiooptions.IOStreams
	flags *genericclioptions.ConfigFlags

	revision int64
	output   string
}

func newHistory(streams genericiooptions.IOStreams) *cobra.Command {
	q := &historyQuery{IOStreams: streams, flags: hostFlags()}
	command := &cobra.Command{
		Use:   "history NAME",
		Short: "Show what a profile has been, and where it was deployed",
		Long: "Show what a ClusterProfile has been, and where it was deployed. " +
			"With --namespace the name is that of a Profile in that namespace. " +
			"--revision with -o yaml shows one revision whole: its spec, what it was deployed from, and how that ended on each cluster.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error { return q.run(command.Context(), args[0]) },
	}
	q.flags.AddFlags(command.Flags())
	command.Flags().Int64Var(&q.revision, "revision", 0, "only the revision with this number")
	addOutputFlag(command, &q.output, "json", "yaml", "wide")
	return command
}

func (q *historyQuery) run(ctx context.Context, name string) error {
	if err := checkOutput(q.output, "json", "yaml", "wide"); err != nil {
		return err
	}
	clients, err := connect(q.flags)
	if err != nil {
		return err
	}
	body, err := readHistory(ctx, clients.muster.ConfigV1beta1().RESTClient(), *q.flags.Namespace, name, q.revision, acceptFor(q.output))
	if err != nil {
		return err
	}
	return printAnswer(q.Out, q.output, body)
}

// readHistory asks for the history of a profile, which is a ClusterProfile if there is
// no namespace; number 0 asks for all revisions.
func readHistory(ctx context.Context, client rest.Interface, namespace, name string, number int64, accept string) ([]byte, error) {
	request := client.Verb(http.MethodGet).Resource("clusterprofiles")
	if namespace != "" {
		request = client.Verb(http.MethodGet).Namespace(namespace).Resource("profiles")
	}
	request = request.Name(name).SubResource("history").SetHeader("Accept", accept)
	if number != 0 {
		request = request.Param("revision", strconv.FormatInt(number, 10))
	}
	body, err := answerTo(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("reading the history of %s: %w", name, err)
	}
	return body, nil
}

// rollback is what "rollback" is asked for.
type rollback struct {
	genericiooptions.IOStreams
	flags *genericclioptions.ConfigFlags

	to int64
}

func newRollback(streams genericiooptions.IOStreams) *cobra.Command {
	r := &rollback{IOStreams: streams, flags: hostFlags()}
	command := &cobra.Command{
		Use:   "rollback NAME [--to-revision=N]",
		Short: "Make a profile what it was, with the contents that were deployed then",
		Long: "Give a ClusterProfile the spec that it had, and deploy what its ConfigMaps and URLs held then. " +
			"With --namespace the name is that of a Profile in that namespace. " +
			"The rollback ends, and what sources hold now is deployed, when the spec is changed or annotation " +
			configv1beta1.AnnotationContentsOf + " is removed. What a Secret held is not kept: " +
			"a rollback to a revision whose Secret has changed since is refused.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			clients, err := connect(r.flags)
			if err != nil {
				return err
			}
			return r.run(command.Context(), clients, args[0])
		},
	}
	r.flags.AddFlags(command.Flags())
	command.Flags().Int64Var(&r.to, "to-revision", 0, "number of the revision, as history lists it; the one before the latest if it is not given")
	return command
}

func (r *rollback) run(ctx context.Context, clients *clients, name string) error {
	target, err := r.target(ctx, clients, name)
	if err != nil {
		return err
	}
	if len(target.Obstacles) > 0 {
		return fmt.Errorf("revision %d of %s cannot be deployed again: %s", target.Number, name, strings.Join(target.Obstacles, "; "))
	}
	if target.Spec == nil {
		return fmt.Errorf("revision %d of %s has no spec in the answer", target.Number, name)
	}
	if err := r.write(ctx, clients, name, target); err != nil {
		return fmt.Errorf("rolling %s back: %w", name, err)
	}
	fmt.Fprintf(r.Out, "%s rolled back to revision %d\n", name, target.Number)
	return nil
}

// target is the revision to go back to, with its spec and what is in the way.
func (r *rollback) target(ctx context.Context, clients *clients, name string) (*configv1beta1.ProfileRevision, error) {
	read := func(number int64) ([]configv1beta1.ProfileRevision, error) {
		body, err := readHistory(ctx, clients.muster.ConfigV1beta1().RESTClient(), *r.flags.Namespace, name, number, acceptJSON)
		if err != nil {
			return nil, err
		}
		history := &configv1beta1.ProfileHistory{}
		if err := yaml.Unmarshal(body, history); err != nil {
			return nil, fmt.Errorf("the answer is no history: %w", err)
		}
		return history.Revisions, nil
	}
	number := r.to
	if number == 0 {
		all, err := read(0)
		if err != nil {
			return nil, err
		}
		if len(all) < 2 {
			return nil, fmt.Errorf("the history of %s has no revision before the latest", name)
		}
		number = all[1].Number
	}
	one, err := read(number)
	if err != nil {
		return nil, err
	}
	if len(one) != 1 {
		return nil, errors.New("the answer has more than the revision that was asked for")
	}
	return &one[0], nil
}

// write gives the profile the spec, by an update like any other.
func (r *rollback) write(ctx context.Context, clients *clients, name string, target *configv1beta1.ProfileRevision) error {
	change := func(meta *metav1.ObjectMeta, spec *configv1beta1.ProfileSpec) {
		*spec = *target.Spec.DeepCopy()
		if meta.Annotations == nil {
			meta.Annotations = map[string]string{}
		}
		meta.Annotations[configv1beta1.AnnotationContentsOf] = strconv.FormatInt(target.Number, 10)
	}
	// Others write to a profile too, its status for one.
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if namespace := *r.flags.Namespace; namespace != "" {
			client := clients.muster.ConfigV1beta1().Profiles(namespace)
			p, err := client.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			change(&p.ObjectMeta, &p.Spec)
			_, err = client.Update(ctx, p, metav1.UpdateOptions{})
			return err
		}
		client := clients.muster.ConfigV1beta1().ClusterProfiles()
		p, err := client.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(&p.ObjectMeta, &p.Spec)
		_, err = client.Update(ctx, p, metav1.UpdateOptions{})
		return err
	})
}
