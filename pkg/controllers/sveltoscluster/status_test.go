// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package sveltoscluster

import (
	gocmp "cmp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet"
)

func registration() *libv1beta1.SveltosCluster {
	return &libv1beta1.SveltosCluster{ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "cluster1", Generation: 7}}
}

func conditionString(status libv1beta1.SveltosClusterStatus, conditionType string) string {
	condition := meta.FindStatusCondition(status.Conditions, conditionType)
	if condition == nil {
		return "absent"
	}
	return string(condition.Status) + "/" + condition.Reason
}

func TestDesiredStatus(t *testing.T) {
	up := fleet.Health{Ready: true, EverReady: true, Version: "v1.37.0", ID: "id"}
	tests := []struct {
		name        string
		health      fleet.Health
		ready       string
		credentials string
		everReady   string
		connection  libv1beta1.ConnectionStatus
		failures    int32
		message     string
		checks      string // absent if empty
	}{
		{
			name:  "not probed yet",
			ready: "Unknown/NotProbed", credentials: "Unknown/NotProbed", everReady: "absent",
			connection: libv1beta1.ConnectionHealthy,
		},
		{
			name: "up", health: up,
			ready: "True/Reachable", credentials: "True/CredentialsAccepted", everReady: "True/Reachable",
			connection: libv1beta1.ConnectionHealthy,
		},
		{
			name:   "one probe failed",
			health: fleet.Health{Ready: true, EverReady: true, Failures: 1, Message: "connection refused"},
			ready:  "True/ProbeFailing", credentials: "True/CredentialsAccepted", everReady: "True/Reachable",
			connection: libv1beta1.ConnectionHealthy, failures: 1, message: "connection refused",
		},
		{
			name:   "down",
			health: fleet.Health{EverReady: true, Down: true, Failures: 3, Message: "connection refused"},
			ready:  "False/Unreachable", credentials: "True/CredentialsAccepted", everReady: "True/Reachable",
			connection: libv1beta1.ConnectionDown, failures: 3, message: "connection refused",
		},
		{
			name:   "down for long: written once, not at every probe",
			health: fleet.Health{EverReady: true, Down: true, Failures: 3000, Message: "connection refused"},
			ready:  "False/Unreachable", credentials: "True/CredentialsAccepted", everReady: "True/Reachable",
			connection: libv1beta1.ConnectionDown, failures: 3, message: "connection refused",
		},
		{
			name:   "back, not for long enough",
			health: fleet.Health{EverReady: true, Down: true},
			ready:  "False/Stabilizing", credentials: "True/CredentialsAccepted", everReady: "True/Reachable",
			connection: libv1beta1.ConnectionDown,
		},
		{
			name:   "a check fails, not for long enough",
			health: fleet.Health{Ready: true, EverReady: true, Failures: 1, Message: "c failed", Checks: fleet.ChecksFailed, CheckMessage: "c failed"},
			ready:  "True/CheckFailed", credentials: "True/CredentialsAccepted", everReady: "True/Reachable",
			connection: libv1beta1.ConnectionHealthy, failures: 1, message: "c failed",
			checks: "False/CheckFailed",
		},
		{
			name:   "a check fails",
			health: fleet.Health{EverReady: true, Down: true, Failures: 3, Message: "c failed", Checks: fleet.ChecksFailed, CheckMessage: "c failed"},
			ready:  "False/CheckFailed", credentials: "True/CredentialsAccepted", everReady: "True/Reachable",
			connection: libv1beta1.ConnectionDown, failures: 3, message: "c failed",
			checks: "False/CheckFailed",
		},
		{
			name:   "a check's script fails",
			health: fleet.Health{EverReady: true, Down: true, Failures: 3, Message: "c erred", Checks: fleet.ChecksErred, CheckMessage: "c erred"},
			ready:  "False/CheckFailed", credentials: "True/CredentialsAccepted", everReady: "True/Reachable",
			connection: libv1beta1.ConnectionDown, failures: 3, message: "c erred",
			checks: "False/ScriptError",
		},
		{
			name:   "a check of a new cluster cannot be run",
			health: fleet.Health{Message: "c?", Checks: fleet.ChecksUndecided, CheckMessage: "c?"},
			ready:  "False/CheckUndecided", credentials: "Unknown/NotProbed", everReady: "absent",
			connection: libv1beta1.ConnectionHealthy, message: "c?",
			checks: "Unknown/CheckUndecided",
		},
		{
			name:   "checks pass",
			health: fleet.Health{Ready: true, EverReady: true, Checks: fleet.ChecksPassed},
			ready:  "True/Reachable", credentials: "True/CredentialsAccepted", everReady: "True/Reachable",
			connection: libv1beta1.ConnectionHealthy, checks: "True/ChecksPassed",
		},
		{
			name:   "credentials refused by a ready cluster move nothing",
			health: fleet.Health{Ready: true, EverReady: true, CredentialsInvalid: true, Message: "401"},
			ready:  "True/Reachable", credentials: "False/CredentialsInvalid", everReady: "True/Reachable",
			connection: libv1beta1.ConnectionHealthy, message: "401",
		},
		{
			name:   "credentials never worked",
			health: fleet.Health{CredentialsInvalid: true, Message: "no such Secret"},
			ready:  "False/CredentialsInvalid", credentials: "False/CredentialsInvalid", everReady: "absent",
			connection: libv1beta1.ConnectionHealthy, message: "no such Secret",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status := desiredStatus(registration(), test.health, nil)
			got := map[string]any{
				"ready":       conditionString(status, libv1beta1.ConditionReady),
				"credentials": conditionString(status, libv1beta1.ConditionCredentialsValid),
				"everReady":   conditionString(status, libv1beta1.ConditionHasBeenReady),
				"connection":  status.ConnectionStatus,
				"failures":    status.ConnectionFailures,
				"message":     "",
				"checks":      conditionString(status, libv1beta1.ConditionChecksPassed),
			}
			if status.FailureMessage != nil {
				got["message"] = *status.FailureMessage
			}
			want := map[string]any{
				"ready": test.ready, "credentials": test.credentials, "everReady": test.everReady,
				"connection": test.connection, "failures": test.failures, "message": test.message,
				"checks": gocmp.Or(test.checks, "absent"),
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			if status.ObservedGeneration != 7 {
				t.Errorf("observedGeneration is %d, want 7", status.ObservedGeneration)
			}
		})
	}
}

func TestStatusIsStable(t *testing.T) {
	cluster := registration()
	health := fleet.Health{Ready: true, EverReady: true, Version: "v1.37.0", ID: "id"}
	cluster.Status = desiredStatus(cluster, health, nil)
	if diff := cmp.Diff(cluster.Status, desiredStatus(cluster, health, nil)); diff != "" {
		t.Errorf("the same health changes the status, which would be written for ever:\n%s", diff)
	}
}

func TestThresholdBoundsTheCount(t *testing.T) {
	cluster := registration()
	cluster.Spec.ConsecutiveFailureThreshold = 5
	if got := desiredStatus(cluster, fleet.Health{Failures: 9}, nil).ConnectionFailures; got != 5 {
		t.Errorf("connectionFailures is %d, want the threshold 5", got)
	}
}

func TestIdentity(t *testing.T) {
	cluster := registration()
	status := desiredStatus(cluster, fleet.Health{ID: "one"}, nil)
	if got := conditionString(status, libv1beta1.ConditionIdentityChanged); got != "False/IdentityKnown" || status.ClusterID != "one" {
		t.Errorf("first sight: %s, ID %q", got, status.ClusterID)
	}
	cluster.Status = status
	status = desiredStatus(cluster, fleet.Health{ID: "two"}, nil)
	if got := conditionString(status, libv1beta1.ConditionIdentityChanged); got != "True/OtherCluster" || status.ClusterID != "two" {
		t.Errorf("another cluster: %s, ID %q", got, status.ClusterID)
	}
	condition := meta.FindStatusCondition(status.Conditions, libv1beta1.ConditionIdentityChanged)
	if !strings.Contains(condition.Message, "OneTime once more") {
		t.Errorf("who replaced the cluster is not told what becomes of OneTime: %q", condition.Message)
	}
	cluster.Status = status
	if got := conditionString(desiredStatus(cluster, fleet.Health{ID: "two"}, nil), libv1beta1.ConditionIdentityChanged); got != "True/OtherCluster" {
		t.Errorf("the next status forgets that the cluster changed: %s", got)
	}
	if got := desiredStatus(cluster, fleet.Health{}, nil).ClusterID; got != "two" {
		t.Errorf("a cluster that does not answer loses its ID: %q", got)
	}
}

// Who waits for a new kubeconfig must not take the answer to the old one for it.
func TestTheStatusSaysWhichCredentialsAreAccepted(t *testing.T) {
	for _, test := range []struct {
		health  fleet.Health
		message string
		version string
	}{
		{fleet.Health{EverReady: true, Credentials: "u/1"}, libv1beta1.CredentialsAccepted("u/1"), "u/1"},
		{fleet.Health{EverReady: true, Down: true, Credentials: "u/2"}, libv1beta1.CredentialsAccepted("u/2"), "u/2"},
		{fleet.Health{EverReady: true, Credentials: "u/2", CredentialsInvalid: true, Message: "401"}, "401", ""},
		{fleet.Health{EverReady: true}, "", ""},
		{fleet.Health{}, "", ""},
	} {
		cluster := registration()
		cluster.Status = desiredStatus(cluster, test.health, nil)
		if got := meta.FindStatusCondition(cluster.Status.Conditions, libv1beta1.ConditionCredentialsValid).Message; got != test.message {
			t.Errorf("%+v: the message is %q, want %q", test.health, got, test.message)
		}
		// What a new leader begins with: it should have nothing to write.
		if got := healthOf(cluster).Credentials; got != test.version {
			t.Errorf("%+v: %q is remembered, want %q", test.health, got, test.version)
		}
	}
}

func TestDuplicatesAreNamed(t *testing.T) {
	status := desiredStatus(registration(), fleet.Health{ID: "id"}, []string{"civo/cluster2"})
	condition := meta.FindStatusCondition(status.Conditions, libv1beta1.ConditionDuplicateRegistration)
	if condition == nil || condition.Status != metav1.ConditionTrue || !strings.Contains(condition.Message, "civo/cluster2") {
		t.Errorf("condition is %v, want it true with the other registration in it", condition)
	}
	if got := conditionString(desiredStatus(registration(), fleet.Health{ID: "id"}, nil), libv1beta1.ConditionDuplicateRegistration); got != "False/Unique" {
		t.Errorf("alone: %s", got)
	}
}

func TestHealthSurvivesARestart(t *testing.T) {
	for _, health := range []fleet.Health{
		{},
		{Ready: true, EverReady: true, Version: "v1.37.0", ID: "id"},
		{EverReady: true, Down: true, Failures: 3, Message: "refused", Version: "v1.37.0", ID: "id"},
		{Ready: true, EverReady: true, CredentialsInvalid: true, Message: "401", ID: "id"},
		{Ready: true, EverReady: true, Checks: fleet.ChecksPassed},
		{EverReady: true, Down: true, Failures: 3, Message: "c failed", Checks: fleet.ChecksFailed, CheckMessage: "c failed"},
		{EverReady: true, Down: true, Failures: 3, Message: "c erred", Checks: fleet.ChecksErred, CheckMessage: "c erred"},
		{Message: "c?", Checks: fleet.ChecksUndecided, CheckMessage: "c?"},
	} {
		cluster := registration()
		cluster.Status = desiredStatus(cluster, health, nil)
		if diff := cmp.Diff(health, healthOf(cluster)); diff != "" {
			t.Errorf("health read back from the status (-want +got):\n%s", diff)
		}
	}
}

func TestRemovedChecksLeaveNoCondition(t *testing.T) {
	cluster := registration()
	cluster.Status = desiredStatus(cluster, fleet.Health{Ready: true, EverReady: true, Checks: fleet.ChecksPassed}, nil)
	if got := conditionString(desiredStatus(cluster, fleet.Health{Ready: true, EverReady: true}, nil), libv1beta1.ConditionChecksPassed); got != "absent" {
		t.Errorf("without checks the condition is %s", got)
	}
}

func TestKubeconfigIn(t *testing.T) {
	secret := func(data map[string]string) *corev1.Secret {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "civo", Name: "s"}, Data: map[string][]byte{}}
		for k, v := range data {
			s.Data[k] = []byte(v)
		}
		return s
	}
	tests := []struct {
		name    string
		data    map[string]string
		key     string
		want    string
		wantErr string
	}{
		{name: "the only key", data: map[string]string{"x": "1"}, want: "1"},
		{name: "upstream's key among others", data: map[string]string{"a": "0", "kubeconfig": "1"}, want: "1"},
		{name: "a renewed one first", data: map[string]string{"re-kubeconfig": "2", "kubeconfig": "1"}, want: "2"},
		{name: "else the first", data: map[string]string{"b": "2", "a": "1"}, want: "1"},
		{name: "the named key", data: map[string]string{"kubeconfig": "1", "mine": "2"}, key: "mine", want: "2"},
		{name: "a named key that is missing", data: map[string]string{"kubeconfig": "1"}, key: "mine", wantErr: `no key "mine"`},
		{name: "nothing", wantErr: "has no data"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := kubeconfigIn(secret(test.data), test.key)
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) || !strings.Contains(err.Error(), "civo/s") {
					t.Errorf("error is %v, want one with %q and the Secret's name", err, test.wantErr)
				}
				return
			}
			if err != nil || string(got) != test.want {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}
