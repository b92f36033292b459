// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package clustersummary

import (
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	configv1beta1 "github.com/muster-project/muster/pkg/apis/config/v1beta1"
	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/controllers/trigger"
	"github.com/muster-project/muster/pkg/deploy"
	"github.com/muster-project/muster/pkg/deploy/health"
	"github.com/muster-project/muster/pkg/fleet"
)

// stage is a reconciler whose workers do nothing, so that a job that was queued stays.
type stage struct {
	*testing.T
	*Reconciler
	now time.Time
}

func newStage(t *testing.T, objects ...client.Object) *stage {
	t.Helper()
	s := &stage{T: t, now: noon}
	stored := newClient(t, objects...)
	s.Reconciler = New(Options{
		Client: stored, Live: stored, Workers: fleet.NewWorkers(fleet.WorkersOptions{}), Now: func() time.Time { return s.now },
		Trigger: trigger.New[reconcile.Request](), Events: events.NewFakeRecorder(100),
	})
	return s
}

// look reconciles a summary and reads it again, and reports whether a job is queued.
func (s *stage) look(summary *configv1beta1.ClusterSummary) (queued bool) {
	s.Helper()
	name := client.ObjectKeyFromObject(summary)
	if _, err := s.Reconcile(s.Context(), reconcile.Request{NamespacedName: name}); err != nil {
		s.Fatal(err)
	}
	if err := s.Client.Get(s.Context(), name, summary); err != nil {
		s.Fatal(err)
	}
	return s.memory.of(name).active != ""
}

func readyIn(summary *configv1beta1.ClusterSummary) metav1.Condition {
	if ready := meta.FindStatusCondition(summary.Status.Conditions, configv1beta1.ConditionReady); ready != nil {
		return *ready
	}
	return metav1.Condition{}
}

func TestWhatIsPausedIsNotDeployed(t *testing.T) {
	annotated := func(object client.Object, key string) client.Object {
		object.SetAnnotations(map[string]string{key: "true"})
		return object
	}
	profile := func() *configv1beta1.ClusterProfile {
		return &configv1beta1.ClusterProfile{ObjectMeta: metav1.ObjectMeta{Name: "kyverno"}}
	}
	window := registration()
	window.Spec.ActiveWindow = &libv1beta1.ActiveWindow{From: "0 22 * * *", To: "0 4 * * *"}
	for name, tc := range map[string]struct {
		summary, cluster, profile client.Object
		want                      string
	}{
		"nothing":                   {summaryFor("kyverno"), registration(), profile(), ""},
		"the summary":               {annotated(summaryFor("kyverno"), libv1beta1.AnnotationPaused), registration(), profile(), "this summary is paused"},
		"the profile":               {summaryFor("kyverno"), registration(), annotated(profile(), libv1beta1.AnnotationProfilePaused), "the profile is paused"},
		"the cluster":               {summaryFor("kyverno"), annotated(registration(), libv1beta1.AnnotationPaused), profile(), "the cluster is paused"},
		"outside its window":        {summaryFor("kyverno"), window, profile(), "outside of its active window"},
		"a profile that is no more": {annotated(summaryFor("kyverno"), libv1beta1.AnnotationPaused), registration(), &configv1beta1.ClusterProfile{ObjectMeta: metav1.ObjectMeta{Name: "x"}}, "this summary is paused"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, tc.summary, tc.cluster, tc.profile)
			summary := tc.summary.(*configv1beta1.ClusterSummary)
			queued := s.look(summary)
			if queued != (tc.want == "") || summary.Status.ReconciliationSuspended != (tc.want != "") {
				t.Errorf("queued: %t, the status is %+v", queued, summary.Status)
			}
			if tc.want != "" && !strings.Contains(*summary.Status.SuspensionReason, tc.want) {
				t.Errorf("the reason is %q, want %q", *summary.Status.SuspensionReason, tc.want)
			}
			// A job that was queued before does not begin.
			f, err := s.flowOf(t.Context(), summary, tc.cluster.(*libv1beta1.SveltosCluster))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.mayBegin(t.Context(), f, "", false); errors.Is(err, errHeld) != (tc.want != "") {
				t.Errorf("it begins: %v", err)
			}
		})
	}
}

func TestAWindowThatBeginsLetsTheWorkBegin(t *testing.T) {
	cluster := registration()
	cluster.Spec.ActiveWindow = &libv1beta1.ActiveWindow{From: "0 22 * * *", To: "0 4 * * *"}
	summary := summaryFor("kyverno")
	s := newStage(t, summary, cluster)
	if s.look(summary) {
		t.Fatal("deployed outside of the window")
	}
	s.now = noon.Add(10 * time.Hour)
	if !s.look(summary) || summary.Status.ReconciliationSuspended {
		t.Errorf("not deployed inside of the window: %+v", summary.Status)
	}
}

func TestRetriggerIsOnePassMore(t *testing.T) {
	summary := summaryFor("kyverno")
	profile := &configv1beta1.ClusterProfile{ObjectMeta: metav1.ObjectMeta{Name: "kyverno"}}
	s := newStage(t, summary, profile, registration())
	prints := map[string]bool{}
	for _, change := range []func(){
		func() {},
		func() { summary.Annotations = map[string]string{libv1beta1.AnnotationRetrigger: "1"} },
		func() { summary.Annotations[libv1beta1.AnnotationRetrigger] = "2" },
		func() {
			profile.Annotations = map[string]string{libv1beta1.AnnotationRetrigger: "1"}
			if err := s.Client.Update(t.Context(), profile); err != nil {
				t.Fatal(err)
			}
		},
	} {
		change()
		f, err := s.flowOf(t.Context(), summary, registration())
		if err != nil {
			t.Fatal(err)
		}
		prints[f.print("x")] = true
	}
	if len(prints) != 4 {
		t.Errorf("each change has to be seen: %v", prints)
	}
}

// passed is the outcome of a job after which everything is as it should be.
func passed(fingerprint string) outcome {
	return outcome{uid: "summary-of-kyverno", ended: noon, fingerprint: fingerprint, result: deploy.Result{
		Features: map[deploy.Feature]deploy.FeatureResult{deploy.Resources: {Applied: 1, Hash: "h"}},
	}}
}

func checkOf(feature libv1beta1.FeatureID) []libv1beta1.ValidateHealth {
	return []libv1beta1.ValidateHealth{{Name: "up", FeatureID: feature, Version: "v1", Kind: "Pod"}}
}

func withChecks(change func(*configv1beta1.ProfileSpec)) *configv1beta1.ClusterSummary {
	summary := summaryFor("kyverno")
	summary.Spec.ClusterProfileSpec.PolicyRefs = []configv1beta1.PolicyRef{{Kind: "ConfigMap", Name: "a"}}
	change(&summary.Spec.ClusterProfileSpec)
	return summary
}

// What is deployed is ready when its checks have passed, and a failure when they have not
// for a while.
func TestReadyAfterItsChecks(t *testing.T) {
	summary := withChecks(func(p *configv1beta1.ProfileSpec) { p.ValidateHealths = checkOf(libv1beta1.FeatureResources) })
	cluster := registration()
	s := newStage(t, summary, cluster)
	name := client.ObjectKeyFromObject(summary)
	print, err := fingerprint(summary, cluster)
	if err != nil {
		t.Fatal(err)
	}
	s.memory.end(name, passed(print))
	last, _ := s.memory.last(name, summary.UID)
	key := gateKey{name, afterDeployment}
	wantReady := func(reason string, feature configv1beta1.FeatureStatus) {
		t.Helper()
		if s.look(summary) {
			t.Error("it is deployed again")
		}
		if got := readyIn(summary).Reason; got != reason || summary.Status.FeatureSummaries[0].Status != feature {
			t.Errorf("ready: %+v, features %+v; want %s, %s", readyIn(summary), summary.Status.FeatureSummaries, reason, feature)
		}
	}
	wantReady(configv1beta1.ReasonWaitingForChecks, configv1beta1.FeatureStatusProvisioning)
	failure := []health.Failure{{Feature: libv1beta1.FeatureResources, Check: "up", Message: "no Pod"}}
	s.told(key, token(print, last), failure)
	wantReady(configv1beta1.ReasonWaitingForChecks, configv1beta1.FeatureStatusProvisioning)
	if !strings.Contains(readyIn(summary).Message, `check "up": no Pod`) {
		t.Errorf("it says %q", readyIn(summary).Message)
	}
	s.now = noon.Add(healthPatience)
	s.told(key, token(print, last), failure)
	wantReady(configv1beta1.ReasonChecksFailed, configv1beta1.FeatureStatusFailed)
	s.told(key, token(print, last), nil)
	wantReady(configv1beta1.ReasonProvisioned, configv1beta1.FeatureStatusProvisioned)

	// A pass that changes nothing makes no checks; one that does makes them again.
	same := passed(print)
	same.result.Features[deploy.Resources] = deploy.FeatureResult{Hash: "h"}
	if !s.staysValidated(name, summary, same) {
		t.Error("checked again although nothing has changed")
	}
	if s.staysValidated(name, summary, passed(print)) {
		t.Error("not checked although something has changed")
	}
	same.fingerprint = "another revision"
	if s.staysValidated(name, summary, same) {
		t.Error("not checked although the profile has changed")
	}
}

func TestANewLeaderDoesNotCheckAgainWhatWasReady(t *testing.T) {
	summary := withChecks(func(p *configv1beta1.ProfileSpec) { p.ValidateHealths = checkOf(libv1beta1.FeatureResources) })
	summary.Status.Conditions = []metav1.Condition{provisioned(1)}
	s := newStage(t, summary)
	same := outcome{uid: summary.UID, ended: noon}
	if !s.staysValidated(client.ObjectKeyFromObject(summary), summary, same) {
		t.Error("it is checked again")
	}
	summary.Generation = 2
	if s.staysValidated(client.ObjectKeyFromObject(summary), summary, same) {
		t.Error("a new spec is not checked")
	}
}

func TestPreDeployChecksComeFirst(t *testing.T) {
	summary := withChecks(func(p *configv1beta1.ProfileSpec) { p.PreDeployChecks = checkOf(libv1beta1.FeatureResources) })
	cluster := registration()
	s := newStage(t, summary, cluster)
	if s.look(summary) || readyIn(summary).Reason != configv1beta1.ReasonWaitingForChecks {
		t.Errorf("deployed before its checks: %+v", readyIn(summary))
	}
	print, err := fingerprint(summary, cluster)
	if err != nil {
		t.Fatal(err)
	}
	name := client.ObjectKeyFromObject(summary)
	key := gateKey{name, beforeDeployment}
	failure := []health.Failure{{Feature: libv1beta1.FeatureResources, Check: "up", Message: "no Pod"}}
	s.told(key, token(print, nil), failure)
	if !s.look(summary) {
		t.Error("the lists that are not kept back wait")
	}
	f, err := s.flowOf(t.Context(), summary, cluster)
	if err != nil {
		t.Fatal(err)
	}
	if blocked, err := s.mayBegin(t.Context(), f, print, false); err != nil || len(blocked) != 1 {
		t.Errorf("the job keeps back %v, %v", blocked, err)
	}
	if _, err := s.mayBegin(t.Context(), f, "another", false); !errors.Is(err, errHeld) {
		t.Errorf("checks of another pass count: %v", err)
	}
	// When they pass, what failed because of them is done again at once.
	failed := passed(print)
	failed.err = &failure[0]
	s.memory.deactivate(name)
	s.memory.end(name, failed)
	if s.look(summary) {
		t.Error("a pass that failed just now is made again before it is due")
	}
	s.told(key, token(print, nil), nil)
	if _, dirty := s.memory.last(name, summary.UID); !dirty {
		t.Error("nobody makes the pass again")
	}
}

func TestBlock(t *testing.T) {
	failure := health.Failure{Check: "up", Message: "no"}
	request := deploy.Request{
		Objects: []deploy.ObjectList{{Feature: deploy.Resources, Objects: make([]deploy.Object, 1)}, {Feature: deploy.Kustomize, Objects: make([]deploy.Object, 1)}},
		Charts:  deploy.ChartList{Charts: make([]deploy.Chart, 1)},
	}
	resources, helm := failure, failure
	resources.Feature, helm.Feature = libv1beta1.FeatureResources, libv1beta1.FeatureHelm
	local := map[deploy.Feature][]deploy.Object{deploy.Resources: make([]deploy.Object, 1), deploy.Kustomize: make([]deploy.Object, 1)}
	block(&request, local, []health.Failure{resources, helm})
	if len(local[deploy.Resources]) != 0 || len(local[deploy.Kustomize]) != 1 {
		t.Errorf("on the host: %v", local)
	}
	for _, list := range request.Objects {
		kept := list.Feature == deploy.Kustomize
		if (list.Err == nil) != kept || (len(list.Objects) == 1) != kept {
			t.Errorf("%s: %d objects, %v", list.Feature, len(list.Objects), list.Err)
		}
		if !kept && reasonOf(list.Err) != configv1beta1.ReasonChecksFailed {
			t.Errorf("the reason is %s", reasonOf(list.Err))
		}
	}
	if request.Charts.Err == nil || len(request.Charts.Charts) > 0 || len(request.Objects) != 2 {
		t.Errorf("the request is %+v", request)
	}
}

// deletedSummary is being withdrawn.
func deletedSummary(profile string) *configv1beta1.ClusterSummary {
	summary := summaryFor(profile)
	now := metav1.NewTime(noon)
	summary.DeletionTimestamp, summary.Spec.Withdraw = &now, true
	return summary
}

func TestChecksOfADeletion(t *testing.T) {
	summary := deletedSummary("kyverno")
	summary.Spec.ClusterProfileSpec.PreDeleteChecks = checkOf(libv1beta1.FeatureHelm)
	summary.Spec.ClusterProfileSpec.PostDeleteChecks = checkOf(libv1beta1.FeatureHelm)
	s := newStage(t, summary, registration())
	name := client.ObjectKeyFromObject(summary)
	f, err := s.flowOf(t.Context(), summary, registration())
	if err != nil {
		t.Fatal(err)
	}
	if s.look(summary) || !strings.Contains(readyIn(summary).Message, "preDeleteChecks") || readyIn(summary).Reason != configv1beta1.ReasonWithdrawing {
		t.Errorf("withdrawn before its checks: %+v", readyIn(summary))
	}
	s.told(gateKey{name, beforeWithdrawal}, f.withdrawal(), []health.Failure{{Check: "up", Message: "busy"}})
	if s.look(summary) || !strings.Contains(readyIn(summary).Message, "busy") {
		t.Errorf("withdrawn although a check failed: %+v", readyIn(summary))
	}
	s.told(gateKey{name, beforeWithdrawal}, f.withdrawal(), nil)
	if !s.look(summary) {
		t.Fatal("not withdrawn after its checks")
	}
	s.memory.end(name, outcome{uid: summary.UID, ended: noon, withdrawn: true})
	s.look(summary)
	if !strings.Contains(readyIn(summary).Message, "postDeleteChecks") {
		t.Errorf("gone before its checks: %+v", readyIn(summary))
	}
	s.told(gateKey{name, afterWithdrawal}, f.withdrawal(), nil)
	if _, err := s.Reconcile(t.Context(), reconcile.Request{NamespacedName: name}); err != nil {
		t.Fatal(err)
	}
	if err := s.Client.Get(t.Context(), name, summary); err == nil {
		t.Errorf("it is still there: %v", summary.Finalizers)
	}
}

// What is left in place has nothing to be checked.
func TestLeftInPlaceIsNotChecked(t *testing.T) {
	summary := deletedSummary("kyverno")
	spec := &summary.Spec.ClusterProfileSpec
	spec.PreDeleteChecks, spec.PostDeleteChecks = checkOf(libv1beta1.FeatureHelm), checkOf(libv1beta1.FeatureHelm)
	spec.StopMatchingBehavior = configv1beta1.LeavePolicies
	s := newStage(t, summary, registration())
	if !s.look(summary) {
		t.Error("it waits for its checks")
	}
}

func TestAFrozenSummaryIsNotWithdrawn(t *testing.T) {
	summary := deletedSummary("kyverno")
	summary.Annotations = map[string]string{libv1beta1.AnnotationPaused: ""}
	s := newStage(t, summary, registration())
	if s.look(summary) || !strings.Contains(readyIn(summary).Message, "paused") {
		t.Errorf("withdrawn while it was paused: %+v", readyIn(summary))
	}
}
