// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package mask

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func parsed(t *testing.T, text string) map[string]any {
	t.Helper()
	if text == "" {
		return nil
	}
	var object map[string]any
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	return object
}

func TestPair(t *testing.T) {
	tests := map[string]struct {
		old, current, wantOld, wantCurrent string
		private                            bool
	}{
		"a Secret": {
			old:         "{kind: Secret, metadata: {name: s, labels: {a: b}}, data: {same: eA==, changed: eA==, gone: eA==}, type: Opaque}",
			current:     "{kind: Secret, metadata: {name: s, labels: {a: c}}, data: {same: eA==, changed: eQ==, new: eQ==}, type: Opaque}",
			wantOld:     "{kind: Secret, metadata: {name: s, labels: {a: b}}, data: {same: '***', changed: '*** (before)', gone: '*** (before)'}, type: Opaque}",
			wantCurrent: "{kind: Secret, metadata: {name: s, labels: {a: c}}, data: {same: '***', changed: '*** (after)', new: '*** (after)'}, type: Opaque}",
		},
		"one that is made": {
			current:     "{kind: Secret, metadata: {name: s}, stringData: {a: hunter2}}",
			wantCurrent: "{kind: Secret, metadata: {name: s}, stringData: {a: '***'}}",
		},
		"anything else": {
			old: "{kind: ConfigMap, data: {a: b}}", current: "{kind: ConfigMap, data: {a: c}}",
			wantOld: "{kind: ConfigMap, data: {a: b}}", wantCurrent: "{kind: ConfigMap, data: {a: c}}",
		},
		"anything private": {
			private:     true,
			old:         "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ns, labels: {a: b}}, spec: {list: [one, two], num: 1, same: 3, on: true}}",
			current:     "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ns, labels: {a: b}}, spec: {list: [one, three], num: 2, same: 3, on: true}}",
			wantOld:     "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ns, labels: {a: '***'}}, spec: {list: ['***', '*** (before)'], num: '*** (before)', same: '***', on: true}}",
			wantCurrent: "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ns, labels: {a: '***'}}, spec: {list: ['***', '*** (after)'], num: '*** (after)', same: '***', on: true}}",
		},
		"a Secret that was something else": {
			old: "{kind: ConfigMap, data: {a: hunter2}}", current: "{kind: Secret, data: {a: eQ==}}",
			wantOld: "{kind: ConfigMap, data: {a: '*** (before)'}}", wantCurrent: "{kind: Secret, data: {a: '*** (after)'}}",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			old, current := parsed(t, tc.old), parsed(t, tc.current)
			gotOld, gotCurrent := Pair(old, current, tc.private)
			if diff := cmp.Diff(parsed(t, tc.wantOld), gotOld); diff != "" {
				t.Errorf("before (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(parsed(t, tc.wantCurrent), gotCurrent); diff != "" {
				t.Errorf("after (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(parsed(t, tc.old), old); diff != "" {
				t.Errorf("it was written to:\n%s", diff)
			}
			text, err := yaml.Marshal([]any{gotOld, gotCurrent})
			if err != nil || strings.Contains(string(text), "hunter2") {
				t.Errorf("a secret is left, or %v:\n%s", err, text)
			}
		})
	}
}
