// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	configvalidation "github.com/muster-project/muster/pkg/apis/config/validation"
	libvalidation "github.com/muster-project/muster/pkg/apis/lib/validation"
)

func TestDocumentIsUpToDate(t *testing.T) {
	var got bytes.Buffer
	if err := run(&got); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("docs/compatibility.md is not what the validation code says; run hack/update-codegen.sh")
	}
	for _, row := range append(libvalidation.Rows(), configvalidation.Rows()...) {
		if !strings.Contains(got.String(), "| `"+row.Path+"` |") {
			t.Errorf("%s is missing", row.Path)
		}
	}
}
