// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/generated/clientset/versioned"
)

func TestGetSelectionWithOptions(t *testing.T) {
	var request string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request = r.URL.String()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"apiVersion":"lib.projectsveltos.io/v1beta1","kind":"Selection","selected":[{"name":"cluster1"}],"persisted":true}`)
	}))
	defer server.Close()
	client, err := versioned.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	options := v1beta1.SelectionOptions{Limit: 5, Continue: "x", Reason: "Held", ResourceVersion: "0"}
	const query = "/prod/selection?continue=x&limit=5&reason=Held&resourceVersion=0"

	got, err := client.LibV1beta1().ClusterSets().GetSelectionWithOptions(t.Context(), "prod", options)
	if err != nil {
		t.Fatal(err)
	}
	if want := "/apis/lib.projectsveltos.io/v1beta1/clustersets" + query; request != want {
		t.Errorf("request = %s, want %s", request, want)
	}
	if len(got.Selected) != 1 || got.Selected[0].Name != "cluster1" || !got.Persisted {
		t.Errorf("selection = %+v", got)
	}

	if _, err := client.LibV1beta1().Sets("civo").GetSelectionWithOptions(t.Context(), "prod", options); err != nil {
		t.Fatal(err)
	}
	if want := "/apis/lib.projectsveltos.io/v1beta1/namespaces/civo/sets" + query; request != want {
		t.Errorf("request = %s, want %s", request, want)
	}
}
