// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package hostcluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const kubeconfig = `apiVersion: v1
kind: Config
current-context: host
contexts: [{name: host, context: {cluster: host, user: muster}}]
clusters: [{name: host, cluster: {server: "https://host.example:6443"}}]
users: [{name: muster, user: {token: t}}]
`

func TestConfigComesFromTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	config, err := Config(file)
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://host.example:6443" || config.BearerToken != "t" || config.UserAgent == "" {
		t.Errorf("the host is %s as %q by %q", config.Host, config.BearerToken, config.UserAgent)
	}
}

func TestWithoutAWayTheErrorSaysHowToGiveOne(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, file := range []string{"", filepath.Join(t.TempDir(), "none")} {
		if _, err := Config(file); err == nil || !strings.Contains(err.Error(), "--kubeconfig") {
			t.Errorf("%q: %v", file, err)
		}
	}
}
