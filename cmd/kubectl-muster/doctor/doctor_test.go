// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregatorfake "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset/fake"
	"k8s.io/utils/ptr"

	"github.com/muster-project/muster/pkg/apiserver/hostrights"
	"github.com/muster-project/muster/pkg/storage/identity"
)

const namespace = "projectsveltos"

var now = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

// patient is an installation as a test changes it.
type patient struct {
	version       string
	registrations []runtime.Object
	definitions   []runtime.Object
	objects       []runtime.Object
	refused       string // a resource that the ServiceAccount has no right to
	// readable are the namespaces whose Secrets it may read; none means all.
	readable []string
	storage  error
	hostTime time.Time
}

func healthy(t *testing.T) *patient {
	t.Helper()
	data, err := identity.Stored{Record: &identity.Record{Prefix: "/p", ClusterID: "c", Installation: "i", Revision: 1, Renewed: now}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	p := &patient{version: "v1.34.1", hostTime: now, objects: []runtime.Object{
		identity.NewConfigMap(namespace, data),
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "muster-0", Labels: map[string]string{"app.kubernetes.io/name": "muster"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "muster", Image: "muster:1"}}},
			Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		},
		lease(now.Add(-time.Second)),
	}}
	for _, name := range hostrights.RegistrationNames() {
		p.registrations = append(p.registrations, &apiregistration.APIService{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       apiregistration.APIServiceSpec{Service: &apiregistration.ServiceReference{Namespace: namespace, Name: "muster"}},
			Status:     apiregistration.APIServiceStatus{Conditions: []apiregistration.APIServiceCondition{{Type: apiregistration.Available, Status: apiregistration.ConditionTrue}}},
		})
	}
	return p
}

func lease(renewed time.Time) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: leaderLease},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To("muster-0"), RenewTime: &metav1.MicroTime{Time: renewed}},
	}
}

func (p *patient) examine(t *testing.T) []Finding {
	t.Helper()
	host := fake.NewClientset(p.objects...)
	host.Discovery().(*fakediscovery.FakeDiscovery).FakedServerVersion = &version.Info{GitVersion: p.version}
	host.PrependReactor("create", "subjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SubjectAccessReview).DeepCopy()
		asked := review.Spec.ResourceAttributes
		limited := asked.Resource == "secrets" && asked.Verb == "list" && p.readable != nil
		review.Status.Allowed = asked.Resource != p.refused && (!limited || slices.Contains(p.readable, asked.Namespace)) &&
			review.Spec.User == "system:serviceaccount:projectsveltos:muster"
		return true, review, nil
	})
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	d := &Doctor{
		Host: host, Aggregator: aggregatorfake.NewClientset(p.registrations...),
		Metadata:  metadatafake.NewSimpleMetadataClient(scheme, p.definitions...),
		Namespace: namespace, Service: "muster",
		AskStorage: func(context.Context) error { return p.storage },
		HostTime:   func(context.Context) (time.Time, error) { return p.hostTime, nil },
		Now:        func() time.Time { return now },
	}
	return d.Examine(t.Context())
}

func TestExamine(t *testing.T) {
	tests := map[string]struct {
		change func(*patient)
		check  string
		level  Level
		says   string
	}{
		"old host":       {func(p *patient) { p.version = "v1.31.9" }, "host version", Problem, "1.32"},
		"not registered": {func(p *patient) { p.registrations = p.registrations[1:] }, "apiservices", Problem, "missing"},
		"another's":      {func(p *patient) { p.registrations[0].(*apiregistration.APIService).Spec.Service.Name = "x" }, "apiservices", Problem, "does not lead"},
		"not available": {func(p *patient) {
			p.registrations[0].(*apiregistration.APIService).Status.Conditions[0].Status = "False"
		}, "apiservices", Problem, "not available"},
		"Sveltos is there": {func(p *patient) { p.definitions = []runtime.Object{definition("sets.lib.projectsveltos.io")} }, "definitions", Problem, "--migration"},
		"a right missing":  {func(p *patient) { p.refused = "mutatingadmissionpolicies" }, "rights", Problem, "403"},
		"held":             {func(p *patient) { p.storage = identity.Unavailable(&identity.Held{Reason: identity.Wiped}) }, "storage", Problem, "confirm-storage"},
		"no answer":        {func(p *patient) { p.storage = errors.New("refused") }, "storage", Problem, "refused"},
		"no leader":        {func(p *patient) { p.objects[2] = lease(now.Add(-time.Minute)) }, "leader", Problem, "nobody leads"},
		"clock is off":     {func(p *patient) { p.hostTime = now.Add(time.Minute); p.objects[2] = lease(p.hostTime) }, "clocks", Warning, "differ"},
		"leader is ahead":  {func(p *patient) { p.objects[2] = lease(now.Add(time.Minute)) }, "clocks", Problem, "ahead"},
		"not ready":        {func(p *patient) { p.objects[1].(*corev1.Pod).Status.Conditions = nil }, "pods", Problem, "not ready"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := healthy(t)
			test.change(p)
			findings := p.examine(t)
			for _, f := range findings {
				if f.Check == test.check && f.Level == test.level && strings.Contains(f.Message+" "+f.Action, test.says) && f.Action != "" {
					return
				}
			}
			t.Errorf("findings %+v, want a %s of %s with %q", findings, test.level, test.check, test.says)
		})
	}
}

func TestAHealthyInstallationHasNoProblem(t *testing.T) {
	p := healthy(t)
	p.objects = append(p.objects, &corev1.Pod{ // of the Job that made the Secrets
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "muster-prepare", Labels: map[string]string{"app.kubernetes.io/name": "muster"}},
		Status:     corev1.PodStatus{Phase: corev1.PodSucceeded, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}},
	})
	for _, f := range p.examine(t) {
		// There is no certificate in the fake host.
		if f.Level != OK && f.Check != "certificate" {
			t.Errorf("%+v", f)
		}
	}
}

// Rights to read some namespaces are enough for a server that reads no others.
func TestRightsAreNeededWhereTheServerReads(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		fine bool
	}{
		"it reads all":          {nil, false},
		"it reads what it may":  {[]string{"server", "--source-namespaces=fleet-a,fleet-b"}, true},
		"it reads another, too": {[]string{"server", "--source-namespaces=fleet-a,fleet-c"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := healthy(t)
			p.readable = []string{namespace, "fleet-a", "fleet-b"}
			deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "muster", Labels: map[string]string{"app.kubernetes.io/name": "muster"}}}
			deployment.Spec.Template.Spec.Containers = []corev1.Container{{Name: "muster", Args: test.args}}
			p.objects = append(p.objects, deployment)
			for _, f := range p.examine(t) {
				if f.Check == "rights" && (f.Level == OK) != test.fine {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

func definition(name string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
	}
}
