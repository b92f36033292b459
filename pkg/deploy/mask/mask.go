// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package mask keeps secrets out of what people read: errors, events, logs.
package mask

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// minimum is the length in bytes from which on a string is masked: a shorter
// one is in too many words by chance.
const minimum = 4

// minimumLine is the same for one line of a longer secret, which may be as
// ordinary as "true".
const minimumLine = 8

// maskedError has the message of an error without the secrets in it.
type maskedError struct {
	message string
	err     error
}

func (e *maskedError) Error() string { return e.message }

// Unwrap gives the cause to errors.Is and errors.As; its message is not to be
// shown.
func (e *maskedError) Unwrap() error { return e.err }

// Error returns an error whose message is without the secrets. Its chain is
// that of err; nil stays nil.
func Error(err error, secrets []string) error {
	if err == nil {
		return nil
	}
	if message := Text(err.Error(), secrets); message != err.Error() {
		return &maskedError{message: message, err: err}
	}
	return err
}

// Text replaces the secrets in a text, also where they are quoted as in Go or JSON,
// encoded in base64, or stand in it line by line.
func Text(text string, secrets []string) string {
	forms := map[string]bool{}
	for _, secret := range secrets {
		quoted := strconv.Quote(secret)
		forms[secret], forms[quoted[1:len(quoted)-1]] = true, true
		forms[base64.StdEncoding.EncodeToString([]byte(secret))] = true
		inJSON, _ := json.Marshal(secret) // a string always can be
		forms[string(inJSON[1:len(inJSON)-1])] = true
		for line := range strings.Lines(secret) {
			if line = strings.TrimSpace(line); len(line) >= minimumLine {
				forms[line] = true
			}
		}
	}
	// Longest first: one may be part of another.
	ordered := make([]string, 0, len(forms))
	for form := range forms {
		if len(form) >= minimum {
			ordered = append(ordered, form)
		}
	}
	slices.SortFunc(ordered, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	for _, form := range ordered {
		text = strings.ReplaceAll(text, form, "***")
	}
	return text
}

// Values returns the strings in a Secret; nothing for any other kind.
func Values(obj *unstructured.Unstructured) []string {
	if obj.GetKind() != "Secret" {
		return nil
	}
	var secrets []string
	for _, field := range []string{"data", "stringData"} {
		values, _, _ := unstructured.NestedFieldNoCopy(obj.Object, field)
		fields, ok := values.(map[string]any)
		if !ok {
			continue
		}
		for _, value := range fields {
			text, ok := value.(string)
			if !ok {
				continue
			}
			secrets = append(secrets, text)
			if decoded, err := base64.StdEncoding.DecodeString(text); err == nil && field == "data" {
				secrets = append(secrets, string(decoded))
			}
		}
	}
	return secrets
}

// Content returns all strings in an object but those that name it: for one that
// was kept in a Secret as a whole, whatever its own kind.
func Content(obj *unstructured.Unstructured) []string {
	var secrets []string
	for field, value := range obj.Object {
		metadata, isMap := value.(map[string]any)
		switch {
		case field == "apiVersion" || field == "kind":
		case field == "metadata" && isMap:
			for name, value := range metadata {
				if name != "name" && name != "namespace" {
					secrets = appendStrings(secrets, value)
				}
			}
		default:
			secrets = appendStrings(secrets, value)
		}
	}
	return append(secrets, Values(obj)...)
}

func appendStrings(strings []string, value any) []string {
	switch value := value.(type) {
	case string:
		strings = append(strings, value)
	case []any:
		for _, element := range value {
			strings = appendStrings(strings, element)
		}
	case map[string]any:
		for _, element := range value {
			strings = appendStrings(strings, element)
		}
	}
	return strings
}
