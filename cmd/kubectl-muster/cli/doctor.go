// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	aggregatorclient "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"

	"github.com/muster-project/muster/cmd/kubectl-muster/doctor"
)

// examination is what "doctor" is asked for.
type examination struct {
	genericiooptions.IOStreams
	flags *genericclioptions.ConfigFlags

	service   string
	output    string
	migration bool
}

func newDoctor(streams genericiooptions.IOStreams) *cobra.Command {
	e := &examination{IOStreams: streams, flags: hostFlags()}
	command := &cobra.Command{
		Use:   "doctor",
		Short: "Examine an installation of Muster, and say what to do about what is wrong",
		Long: "Examine an installation of Muster from the host cluster's side: its APIServices, certificate, rights, storage, leader, clocks and Pods. " +
			"Nothing is changed. The exit code is 0 where all is well, and 1 where anything was found.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return e.run(command.Context()) },
	}
	flags := command.Flags()
	e.flags.AddFlags(flags)
	flags.StringVar(&e.service, "service", "muster", "Service that the APIServices lead to")
	flags.StringVarP(&e.output, "output", "o", "", "json")
	flags.BoolVar(&e.migration, "migration", false, "print the way from Sveltos to Muster, and examine nothing")
	return command
}

func (e *examination) run(ctx context.Context) error {
	if e.output != "" && e.output != "json" {
		return fmt.Errorf("unknown output format %q: use json", e.output)
	}
	if e.migration {
		fmt.Fprint(e.Out, doctor.Migration)
		return nil
	}
	clients, err := connect(e.flags)
	if err != nil {
		return err
	}
	aggregator, err1 := aggregatorclient.NewForConfig(clients.config)
	metadataClient, err2 := metadata.NewForConfig(clients.config)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("building clients of the host cluster: %w", err)
	}
	d := &doctor.Doctor{
		Host: clients.host, Aggregator: aggregator, Metadata: metadataClient,
		Namespace: installationNamespace(e.flags), Service: e.service,
		AskStorage: func(ctx context.Context) error { return askStorage(ctx, clients) },
		HostTime:   func(ctx context.Context) (time.Time, error) { return hostTime(ctx, clients.config) },
		Now:        time.Now,
	}
	return e.print(d.Examine(ctx))
}

// print writes findings; its error is what makes the exit code.
func (e *examination) print(findings []doctor.Finding) error {
	if e.output == "json" {
		encoder := json.NewEncoder(e.Out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(map[string]any{"findings": findings}); err != nil {
			return fmt.Errorf("printing the findings: %w", err)
		}
	} else {
		for _, f := range findings {
			fmt.Fprintf(e.Out, "%-8s %s: %s", strings.ToUpper(string(f.Level)), f.Check, f.Message)
			if f.Action != "" {
				fmt.Fprintf(e.Out, " -> %s", f.Action)
			}
			fmt.Fprintln(e.Out)
		}
	}
	if worst := doctor.Worst(findings); worst != doctor.OK {
		return fmt.Errorf("the installation needs attention, the worst finding is a %s", worst)
	}
	return nil
}

// hostTime reads the host's clock from the header of an answer, in whole seconds.
func hostTime(ctx context.Context, config *rest.Config) (time.Time, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return time.Time{}, fmt.Errorf("building a client of the host cluster: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(config.Host, "/")+"/version", nil)
	if err != nil {
		return time.Time{}, fmt.Errorf("asking the host for its time: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return time.Time{}, fmt.Errorf("asking the host for its time: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	at, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return time.Time{}, fmt.Errorf("the host's answer has no time: %w", err)
	}
	return at, nil
}
