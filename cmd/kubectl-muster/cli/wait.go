// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

const (
	// exitStalled is the exit status of a wait for what cannot go on without a
	// person, exitTimeout that of one that was not over in time.
	exitStalled = 2
	exitTimeout = 3
)

// profileWait is what "wait" is asked for.
type profileWait struct {
	genericiooptions.IOStreams
	flags *genericclioptions.ConfigFlags

	timeout time.Duration
	// patience is how long a profile may be stalled: what it refers to may be about
	// to be written by whoever wrote the profile.
	patience time.Duration
}

// defaultPatience is enough for one "kubectl apply" of many files.
const defaultPatience = 5 * time.Second

func newWait(streams genericiooptions.IOStreams) *cobra.Command {
	w := &profileWait{IOStreams: streams, flags: hostFlags(), patience: defaultPatience}
	command := &cobra.Command{
		Use:   "wait NAME",
		Short: "Wait until a profile is deployed to all of its clusters, and show how far it is",
		Long: "Wait until a ClusterProfile is deployed to all of its clusters, and show how far it is. " +
			"With --namespace the name is that of a Profile in that namespace. " +
			"The exit status is 0 when everything is deployed, 2 if it cannot go on until a person does something, and 3 after the timeout.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			clients, err := connect(w.flags)
			if err != nil {
				return err
			}
			return w.run(command.Context(), clients, args[0])
		},
	}
	w.flags.AddFlags(command.Flags())
	command.Flags().DurationVar(&w.timeout, "timeout", 5*time.Minute, "how long to wait; 0 waits for ever")
	return command
}

// profileState is what a wait looks at.
type profileState struct {
	generation int64
	status     *configv1beta1.ProfileStatus
}

func (w *profileWait) run(ctx context.Context, clients *clients, name string) error {
	waiting, cancel := ctx, context.CancelFunc(func() {})
	if w.timeout > 0 {
		waiting, cancel = context.WithTimeout(ctx, w.timeout)
	}
	defer cancel()
	last := ""
	for {
		done, err := w.follow(waiting, clients, name, &last)
		if waiting.Err() != nil && ctx.Err() == nil {
			return &ExitError{Code: exitTimeout, Err: fmt.Errorf("%s is not deployed everywhere after %s: %s", name, w.timeout, last)}
		}
		if done || err != nil {
			return err
		}
	}
}

// follow reads the profile and then its changes, until there is an answer or the
// server ends the watch.
func (w *profileWait) follow(ctx context.Context, clients *clients, name string, last *string) (done bool, err error) {
	state, version, err := w.read(ctx, clients, name)
	if err != nil {
		return false, fmt.Errorf("reading %s: %w", name, err)
	}
	changes, err := w.watch(ctx, clients, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, name).String(), ResourceVersion: version,
	})
	if err != nil {
		return false, fmt.Errorf("watching %s: %w", name, err)
	}
	defer changes.Stop()
	var patience <-chan time.Time
	for {
		v, message := w.judge(state, last)
		switch {
		case v == waitDone:
			return true, nil
		case v != waitStalled:
			patience = nil
		case patience == nil:
			patience = time.After(w.patience)
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-patience:
			return false, &ExitError{Code: exitStalled, Err: errors.New(message)}
		case event, open := <-changes.ResultChan():
			if !open {
				return false, nil
			}
			if state, err = stateIn(event); err != nil {
				if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
					return false, nil // it is read anew
				}
				return false, fmt.Errorf("watching %s: %w", name, err)
			}
			if event.Type == watch.Deleted {
				return false, fmt.Errorf("%s was deleted", name)
			}
		}
	}
}

func stateIn(event watch.Event) (profileState, error) {
	switch object := event.Object.(type) {
	case *configv1beta1.ClusterProfile:
		return profileState{generation: object.Generation, status: &object.Status}, nil
	case *configv1beta1.Profile:
		return profileState{generation: object.Generation, status: &object.Status}, nil
	}
	return profileState{}, apierrors.FromObject(event.Object)
}

func (w *profileWait) read(ctx context.Context, clients *clients, name string) (profileState, string, error) {
	if *w.flags.Namespace != "" {
		p, err := clients.muster.ConfigV1beta1().Profiles(*w.flags.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return profileState{}, "", err
		}
		return profileState{generation: p.Generation, status: &p.Status}, p.ResourceVersion, nil
	}
	p, err := clients.muster.ConfigV1beta1().ClusterProfiles().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return profileState{}, "", err
	}
	return profileState{generation: p.Generation, status: &p.Status}, p.ResourceVersion, nil
}

func (w *profileWait) watch(ctx context.Context, clients *clients, options metav1.ListOptions) (watch.Interface, error) {
	if *w.flags.Namespace != "" {
		return clients.muster.ConfigV1beta1().Profiles(*w.flags.Namespace).Watch(ctx, options)
	}
	return clients.muster.ConfigV1beta1().ClusterProfiles().Watch(ctx, options)
}

// waitVerdict says whether a wait is over.
type waitVerdict int

const (
	waitOn waitVerdict = iota
	waitDone
	waitStalled
)

// judge prints how far the profile is, if that is news, and says whether the wait is
// over, and what stands in the way.
func (w *profileWait) judge(state profileState, last *string) (v waitVerdict, message string) {
	progress := "not looked at yet"
	ready := meta.FindStatusCondition(state.status.Conditions, configv1beta1.ConditionReady)
	current := ready != nil && ready.ObservedGeneration == state.generation
	if current {
		progress = ready.Reason + ": " + ready.Message
	}
	if progress != *last {
		*last = progress
		fmt.Fprintln(w.Out, progress)
	}
	if !current {
		return waitOn, ""
	}
	stalled := meta.FindStatusCondition(state.status.Conditions, libv1beta1.ConditionStalled)
	switch {
	case ready.Status == metav1.ConditionTrue:
		return waitDone, ""
	case stalled != nil && stalled.Status == metav1.ConditionTrue && stalled.ObservedGeneration == state.generation:
		return waitStalled, stalled.Message
	}
	return waitOn, ""
}
