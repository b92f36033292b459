// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package kustomize

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func list(element string, count int) string {
	elements := make([]string, count)
	for i := range elements {
		elements[i] = fmt.Sprintf(element, i)
	}
	return strings.Join(elements, ",")
}

// Merging takes the square of what is merged, in this process, and nobody else merges
// meanwhile.
func TestMergeRefusesWhatWouldTakeTooLong(t *testing.T) {
	pod := func(containers string) string {
		return `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[` + containers + `]}}`
	}
	const label = `{"metadata":{"labels":{"a":"b"}}}`
	for name, tt := range map[string]struct {
		patch, object string
		refused       bool
	}{
		"a large Pod":                        {label, pod(list(`{"name":"c%d"}`, 100)), false},
		"a bomb":                             {label, pod(list(`{"name":"c%d"}`, 20000)), true},
		"a bomb of a patch":                  {`{"spec":{"containers":[` + list(`{"name":"c%d"}`, 20000) + `]}}`, pod(`{"name":"c"}`), true},
		"many in many":                       {label, pod(list(`{"name":"c%d","env":[`+strings.ReplaceAll(list(`{"name":"e%d"}`, 100), "%", "%%")+`]}`, 100)), true},
		"a large mapping":                    {label, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{` + list(`"k%d":"v"`, 1000) + `}}`, false},
		"a mapping bomb":                     {label, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{` + list(`"k%d":"v"`, 50000) + `}}`, true},
		"a list that is replaced as a whole": {label, `{"apiVersion":"x.io/v1","kind":"Y","metadata":{"name":"x"},"spec":{"list":[` + list(`{"name":"c%d"}`, 20000) + `]}}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			merged, err := Merge([]byte(tt.patch), []byte(tt.object))
			if errors.Is(err, errEffort) != tt.refused || err != nil && !tt.refused || err == nil && !strings.Contains(string(merged), `"a":"b"`) {
				t.Errorf("merged %d bytes in %s, %v", len(merged), time.Since(began), err)
			}
		})
	}
}
