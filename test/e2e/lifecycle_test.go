// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/muster-project/muster/test/fleet"
)

// fullNamespace makes a namespace with a cluster, its Secret, and a Profile that
// is deployed there. It returns the namespace's name, which is the content's.
func (s *scope) fullNamespace(cluster string) string {
	s.Helper()
	namespace := s.name + "-full"
	s.later(func(ctx context.Context) error {
		_, err := s.fleet.Kubectl(ctx, "delete", "namespace", namespace, "--ignore-not-found")
		return err
	})
	if err := s.fleet.RegisterManaged(s.Context(), namespace, cluster, map[string]string{"scope": namespace}); err != nil {
		s.Fatal(err)
	}
	s.kubectl("create", "configmap", "content", "--namespace="+namespace, "--from-literal=content.yaml="+settings(namespace, "1"))
	manifest := fmt.Sprintf(`
apiVersion: config.projectsveltos.io/v1beta1
kind: Profile
metadata: {name: mine, namespace: %[1]s}
spec:
  clusterSelector: {matchLabels: {scope: %[1]s}}
  policyRefs: [{kind: ConfigMap, name: content}]
`, namespace)
	if _, err := s.fleet.Host.Kubectl().Input(s.Context(), manifest, "apply", "-f", "-"); err != nil {
		s.Fatal(err)
	}
	s.awaitContent(cluster, true, namespace)
	return namespace
}

// namespaceGone waits until a namespace has been deleted with all that was in it.
func (s *scope) namespaceGone(namespace string) {
	s.Helper()
	s.kubectl("delete", "namespace", namespace, "--wait=false")
	s.eventually("namespace "+namespace+" is gone", failoverSoon, func(ctx context.Context) error {
		found, err := s.host.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("it is there: %s", asJSON(found.Status))
		}
		return err
	})
}

// TestNamespaceDeleted: everything of Muster in a namespace goes with it, in
// whatever order the namespace controller takes it.
func TestNamespaceDeleted(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	namespace := s.fullNamespace("cluster1")
	s.namespaceGone(namespace)
	for _, kind := range []string{"sveltosclusters", "sets", "profiles", "clustersummaries"} {
		if out := s.kubectl("get", kind, "--namespace="+namespace, "-o", "name"); out != "" {
			t.Errorf("left behind: %s", out)
		}
	}
	s.applyFails("not found", "{apiVersion: lib.projectsveltos.io/v1beta1, kind: Set, metadata: {name: late, namespace: "+namespace+"}, spec: {maxReplicas: 1}}")
	s.forgetAnyContent("cluster1", namespace)
}

// TestNamespaceOfADeadClusterDeleted: a cluster that nobody reaches keeps no
// namespace from going.
func TestNamespaceOfADeadClusterDeleted(t *testing.T) {
	s := newScope(t).breaks()
	namespace := s.fullNamespace("cluster2")
	s.proxy("cluster2", fleet.BlackHole)
	s.namespaceGone(namespace)
	s.forgetAnyContent("cluster2", namespace)
}

// forgetAnyContent deletes content if it is still there: that of a cluster whose
// registration went before its profile.
func (s *scope) forgetAnyContent(cluster, name string) {
	s.Helper()
	err := s.managed[cluster].CoreV1().ConfigMaps(contentNamespace).Delete(s.Context(), name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		s.Error(err)
	}
}

// TestGarbageCollection: the host's garbage collector sees owners and dependents
// among our kinds as among its own, in either way that there is to delete.
func TestGarbageCollection(t *testing.T) {
	t.Parallel()
	s := newScope(t)
	s.register("cluster1", s.labels())
	for _, cascade := range []string{"foreground", "background"} {
		s.applySource("content", s.name)
		s.applyProfile(s.name, "content", s.everywhere())
		s.provisioned(s.name)
		s.kubectl("delete", "clusterprofile", s.name, "--cascade="+cascade, "--timeout=60s")
		s.awaitNoSummary(s.name, "cluster1")
		s.awaitContent("cluster1", false, s.name)
	}
	// A ConfigMap of the host that one of our objects owns.
	s.apply(s.setManifest(1))
	set, err := s.muster.LibV1beta1().ClusterSets().Get(s.Context(), s.name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.apply(fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: owned, namespace: %s, ownerReferences: [{apiVersion: lib.projectsveltos.io/v1beta1, kind: ClusterSet, name: %s, uid: %s}]}}",
		s.name, s.name, set.UID))
	s.kubectl("delete", "clusterset", s.name)
	s.eventually("the ConfigMap goes with its owner", deploySoon, func(ctx context.Context) error {
		_, err := s.host.CoreV1().ConfigMaps(s.name).Get(ctx, "owned", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %w", err)
	})
}

// TestHostRestarted: the host's API server goes away and comes back. Muster
// does not, and goes on as it was.
func TestHostRestarted(t *testing.T) {
	s := newScope(t).breaks()
	s.register("cluster1", s.labels())
	s.applySet()
	s.applySource("content", s.name)
	s.applyProfile(s.name, "content", "setRefs: ["+s.name+"]")
	s.provisioned(s.name)
	pid := s.fleet.Muster.PID()
	untouched := s.staysUntouched("cluster1", s.name)
	if err := s.fleet.Host.Restart(s.Context()); err != nil {
		t.Fatal(err)
	}
	s.eventually("the API is served again", deploySoon, func(ctx context.Context) error {
		_, err := s.muster.LibV1beta1().ClusterSets().Get(ctx, s.name, metav1.GetOptions{})
		return err
	})
	s.awaitReady("cluster1", true)
	s.awaitSelected(s.name, "cluster1")
	s.applySource("content", s.name, s.name+"-2")
	s.awaitContent("cluster1", true, s.name+"-2")
	if err := untouched(s.Context()); err != nil {
		t.Error(err)
	}
	if now := s.fleet.Muster.PID(); now != pid {
		t.Errorf("Muster was %d and is %d", pid, now)
	}
}
