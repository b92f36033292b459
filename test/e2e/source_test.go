// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
)

// source is a ConfigMap or Secret in the scope's namespace that a profile
// deploys.
type source struct {
	secret      bool
	name        string
	annotations map[string]string
	// data is YAML documents by key.
	data map[string]string
}

// template marks a source as a Go template.
func template() map[string]string { return map[string]string{"projectsveltos.io/template": "ok"} }

// applyRaw makes a source what it says.
func (s *scope) applyRaw(from source) {
	s.Helper()
	object := map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "data": from.data,
		"metadata": metav1.ObjectMeta{Namespace: s.name, Name: from.name, Annotations: from.annotations},
	}
	if from.secret {
		delete(object, "data")
		object["kind"], object["type"], object["stringData"] = "Secret", "addons.projectsveltos.io/cluster-profile", from.data
	}
	manifest, err := yaml.Marshal(object)
	if err != nil {
		s.Fatal(err)
	}
	s.apply(string(manifest))
}

// settings is the manifest of a ConfigMap for a managed cluster with one value.
func settings(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  namespace: %s\n  name: %s\ndata:\n  value: %q\n", contentNamespace, name, value)
}

// documents joins manifests to one YAML file.
func documents(manifests ...string) map[string]string {
	return map[string]string{"content.yaml": strings.Join(manifests, "---\n")}
}

// everywhere is the part of a profile's spec that matches the scope's clusters.
func (s *scope) everywhere() string {
	return "clusterSelector: {matchLabels: {scope: " + s.name + "}}"
}

// provisioned waits until a ClusterProfile, as it is now, is deployed.
func (s *scope) provisioned(name string) {
	s.Helper()
	s.eventually("ClusterProfile "+name+" is provisioned", deploySoon, func(ctx context.Context) error {
		profile, err := s.muster.ConfigV1beta1().ClusterProfiles().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		ready := meta.FindStatusCondition(profile.Status.Conditions, configv1beta1.ConditionReady)
		if ready == nil || ready.ObservedGeneration != profile.Generation {
			return errors.New("its status is not of its generation: " + asJSON(profile.Status))
		}
		return condition(profile.Status.Conditions, configv1beta1.ConditionReady, metav1.ConditionTrue, configv1beta1.ReasonProvisioned)
	})
}

// hasValue is a check of the value of settings in a managed cluster.
func (s *scope) hasValue(cluster, name, want string) func(context.Context) error {
	return func(ctx context.Context) error {
		found, err := s.content(ctx, cluster, name)
		if err == nil && (found == nil || found.Data["value"] != want) {
			err = fmt.Errorf("%s in %s is %s, want value %q", name, cluster, asJSON(found), want)
		}
		return err
	}
}

// awaitValue waits until settings in a managed cluster have a value.
func (s *scope) awaitValue(cluster, name, want string) {
	s.Helper()
	s.eventually(fmt.Sprintf("%s in %s is %q", name, cluster, want), deploySoon, s.hasValue(cluster, name, want))
}

// awaitFailure waits until a profile has failed on a cluster for a reason, and
// sees to it that what has to be said is where users look: in the summary's
// condition, in an event about it, and in the profile's list of failures.
func (s *scope) awaitFailure(profile, cluster, reason string, says ...string) {
	s.Helper()
	s.eventually(fmt.Sprintf("%s fails on %s with %s", profile, cluster, reason), deploySoon, func(ctx context.Context) error {
		summary, err := s.summary(ctx, profile, cluster)
		if err != nil || summary == nil {
			return errors.Join(errors.New("there is no summary"), err)
		}
		if err := condition(summary.Status.Conditions, configv1beta1.ConditionReady, metav1.ConditionFalse, reason); err != nil {
			return err
		}
		message := meta.FindStatusCondition(summary.Status.Conditions, configv1beta1.ConditionReady).Message
		if err := saysAll("the condition", message, says); err != nil {
			return err
		}
		list, err := s.muster.ConfigV1beta1().ClusterProfiles().Get(ctx, profile, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(list.Status.FailedClusters) == 0 {
			return errors.New("the profile lists no failed cluster")
		}
		if err := saysAll("the profile's list", list.Status.FailedClusters[0].FailureMessage, says); err != nil {
			return err
		}
		return s.hasEvent(ctx, summary.Name, reason, says)
	})
}

// hasEvent fails unless there is a warning about an object in the scope's
// namespace.
func (s *scope) hasEvent(ctx context.Context, name, reason string, says []string) error {
	events, err := s.host.CoreV1().Events(s.name).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
	if err != nil {
		return err
	}
	err = fmt.Errorf("there is no event %s about %s, only %s", reason, name, asJSON(events.Items))
	for i := range events.Items {
		event := &events.Items[i]
		if event.Type == corev1.EventTypeWarning && event.Reason == reason {
			if err = saysAll("the event", event.Message, says); err == nil {
				return nil
			}
		}
	}
	return err
}

func saysAll(where, text string, says []string) error {
	for _, want := range says {
		if !strings.Contains(text, want) {
			return fmt.Errorf("%s says %q, and not %q", where, text, want)
		}
	}
	return nil
}

// inFile finds the first line of a file with this in it.
func inFile(path, text string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) {
			return lines.Text(), nil
		}
	}
	return "", lines.Err()
}
