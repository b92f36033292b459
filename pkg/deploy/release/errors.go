// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package release

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Reason says what is wrong with a chart.
type Reason string

const (
	// Unreachable is a repository that can't be reached now: worth another try.
	Unreachable Reason = "Unreachable"
	// NotFound is a chart or version that the repository doesn't have.
	NotFound Reason = "NotFound"
	// Denied is what is not given to these credentials, or to nobody, and what is not
	// fetched from where it is.
	Denied Reason = "Denied"
	// Untrusted is a chart without the proof of its origin that the profile demands.
	Untrusted Reason = "Untrusted"
	// Invalid is a reference, index or archive that is no valid one.
	Invalid Reason = "Invalid"
	// Render is a chart whose templates fail, or render what is no manifest.
	Render Reason = "Render"
)

// ChartError is an error that the chart or its repository causes, rather than
// the cluster.
type ChartError struct {
	Reason Reason
	// Repository is without credentials, before mirrors.
	Repository string
	Chart      string
	// Version is the one asked for, or the chart's own if the chart was found.
	Version string
	// Template is the file within the chart, if the error is in one.
	Template string
	Err      error
}

// Error names the repository, chart, version and template.
func (e *ChartError) Error() string {
	chart := e.Chart
	if e.Version != "" {
		chart += " " + e.Version
	}
	at := ""
	if e.Template != "" {
		at = ", template " + e.Template
	}
	return fmt.Sprintf("chart %s from %s%s: %v", chart, e.Repository, at, e.Err)
}

// Unwrap returns the cause.
func (e *ChartError) Unwrap() error { return e.Err }

// fault is a ChartError that does not know its chart yet.
type fault struct {
	reason Reason
	err    error
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

func faultf(reason Reason, format string, args ...any) error {
	return &fault{reason, fmt.Errorf(format, args...)}
}

// maxMessage bounds an error's text in bytes: Helm quotes whole manifests.
const maxMessage = 2048

// templateNames finds the template in an error of Helm's.
var templateNames = regexp.MustCompile(`(?:template: |parse error (?:on|at|in) |execution error at |Source: )\(?([^\s:()]+/templates/[^\s:()]+)`)

// renderMarks are the words by which an error of Helm's is known to be the
// chart's fault. Helm wraps no typed errors: the text is all there is.
func renderMarks() []string {
	return []string{
		"template: ", "parse error", "execution error at", "error converting YAML", "render error in",
		"don't meet the specifications of the schema", "unable to build kubernetes objects", "chart requires kubeVersion",
		"error validating data", "manifest is not valid", "unable to decode", "no matches for kind", "error parsing",
		"missing required field", "Object 'Kind' is missing", "apiVersion not set", "cannot load values",
	}
}

// classify returns a *ChartError for what a chart is to blame for, and any
// other error as it is.
func classify(err error, chart *Chart) error {
	message := err.Error()
	blame := &ChartError{
		Reason: Render, Repository: RedactURL(chart.Ref.RepositoryURL), Chart: chart.Name, Version: chart.Version, Err: &shortError{err},
	}
	var located *templateError
	if errors.As(err, &located) {
		blame.Template = located.template
		return blame
	}
	for _, mark := range renderMarks() {
		if strings.Contains(message, mark) {
			blame.Template = templateName(message)
			return blame
		}
	}
	return &shortError{err}
}

func templateName(message string) string {
	if match := templateNames.FindStringSubmatch(message); match != nil {
		return match[1]
	}
	return ""
}

// shortError is an error whose message is cut to maxMessage.
type shortError struct{ err error }

func (e *shortError) Error() string {
	message := e.err.Error()
	if len(message) > maxMessage {
		return strings.ToValidUTF8(message[:maxMessage], "") + " … (cut)"
	}
	return message
}

// Unwrap returns the error in full.
func (e *shortError) Unwrap() error { return e.err }
