// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/printers"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// addOutputFlag adds -o, with the formats that a command has beside its own.
func addOutputFlag(command *cobra.Command, output *string, formats ...string) {
	command.Flags().StringVarP(output, "output", "o", "", strings.Join(formats[:len(formats)-1], ", ")+" or "+formats[len(formats)-1])
	_ = command.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

// checkOutput refuses a format that a command does not have.
func checkOutput(output string, formats ...string) error {
	if output == "" || slices.Contains(formats, output) {
		return nil
	}
	return fmt.Errorf("unknown output format %q: use %s or %s", output, strings.Join(formats[:len(formats)-1], ", "), formats[len(formats)-1])
}

// checkProfile refuses a filter by profile that names none. Empty means all.
func checkProfile(profile string) error {
	if profile == "" || strings.Count(profile, "/") == 1 {
		return nil
	}
	return fmt.Errorf("--profile %q: use Kind/name, as in ClusterProfile/kyverno", profile)
}

const (
	acceptJSON  = "application/json"
	acceptTable = "application/json;as=Table;v=v1;g=meta.k8s.io"
)

// acceptFor is what is asked for to print it in a format: data, or a table.
func acceptFor(format string) string {
	if format == "json" || format == "yaml" {
		return acceptJSON
	}
	return acceptTable
}

// answerTo sends a request. It is not DoRaw, whose error leaves out what the server says.
func answerTo(ctx context.Context, request *rest.Request) ([]byte, error) {
	result := request.Do(ctx)
	if err := result.Error(); err != nil {
		return nil, err
	}
	return result.Raw()
}

// printAnswer prints what was asked for with acceptFor.
func printAnswer(out io.Writer, format string, body []byte) error {
	switch format {
	case "json":
		_, err := fmt.Fprintf(out, "%s\n", body)
		return err
	case "yaml":
		text, err := yaml.JSONToYAML(body)
		if err != nil {
			return fmt.Errorf("the answer is no JSON: %w", err)
		}
		_, err = out.Write(text)
		return err
	}
	table := &metav1.Table{}
	if err := yaml.Unmarshal(body, table); err != nil {
		return fmt.Errorf("the answer is no table: %w", err)
	}
	return printers.NewTablePrinter(printers.PrintOptions{Wide: format == "wide"}).PrintObj(table, out)
}

// printData prints what is no object of the API as json or yaml.
func printData(out io.Writer, format string, data any) error {
	encoded, err := json.MarshalIndent(data, "", "    ")
	if err == nil && format == "yaml" {
		encoded, err = yaml.JSONToYAML(encoded)
	}
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	_, err = fmt.Fprintf(out, "%s\n", strings.TrimSuffix(string(encoded), "\n"))
	return err
}

// printBorderedTable prints a table as upstream does.
func printBorderedTable(out io.Writer, header []string, rows [][]string) {
	table := tablewriter.NewWriter(out)
	table.SetHeader(header)
	table.SetAutoWrapText(false)
	table.AppendBulk(rows)
	table.Render()
}
