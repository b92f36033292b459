// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/spf13/cobra"
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
