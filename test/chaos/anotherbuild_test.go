// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/muster-project/muster/test/fleet"
)

const (
	helmModule = "helm.sh/helm/v3"
	// otherHelm is a version of Helm that the server is not built with, the nearest one
	// that there is, and otherHelmSums are its lines of a go.sum.
	otherHelm     = "v3.21.4"
	otherHelmSums = helmModule + " " + otherHelm + " h1:T/GcIEXU/gNjJnkITlIZ3e9xqkZjhFTmISuStTZ6+Qg=\n" +
		helmModule + " " + otherHelm + "/go.mod h1:cS2FBb+xfLuaSqvEmbqIeKUVFgHdHVHtVeXb2epof3M=\n"
)

// programs is a directory with a link to each program, so that a test may put another
// one in the place of one.
func programs(t *testing.T) string {
	t.Helper()
	root, err := fleet.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	bin, links := filepath.Join(root, "bin"), t.TempDir()
	entries, err := os.ReadDir(bin)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if err := os.Symlink(filepath.Join(bin, entry.Name()), filepath.Join(links, entry.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return links
}

// buildWithOtherHelm builds the server with another version of Helm, and with another
// version of its own, and returns the program. What go.mod says otherwise holds for it
// too. It is kept beside the other programs, where a second build finds it up to date.
func buildWithOtherHelm(t *testing.T) string {
	t.Helper()
	root, err := fleet.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	module, errModule := os.ReadFile(filepath.Join(root, "go.mod"))
	sums, errSums := os.ReadFile(filepath.Join(root, "go.sum"))
	if err := errors.Join(errModule, errSums); err != nil {
		t.Fatal(err)
	}
	required := regexp.MustCompile(regexp.QuoteMeta(helmModule) + ` (v\S+)`)
	if found := required.FindSubmatch(module); found == nil || string(found[1]) == otherHelm {
		t.Fatalf("go.mod requires %s: the test needs a version that it does not", found)
	}
	dir := filepath.Join(root, "bin", "other")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	errModule = os.WriteFile(filepath.Join(dir, "muster.mod"), required.ReplaceAll(module, []byte(helmModule+" "+otherHelm)), 0o644)
	errSums = os.WriteFile(filepath.Join(dir, "muster.sum"), append(sums, otherHelmSums...), 0o644)
	if err := errors.Join(errModule, errSums); err != nil {
		t.Fatal(err)
	}
	began, program := time.Now(), filepath.Join(dir, "muster")
	build := exec.CommandContext(t.Context(), "go", "build", "-modfile="+filepath.Join(dir, "muster.mod"), "-buildvcs=false",
		"-ldflags=-X github.com/muster-project/muster/pkg/version.stamp=v0.0.1-other", "-o", program, "./cmd/muster")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building with Helm %s: %v\n%s", otherHelm, err, out)
	}
	t.Logf("built with Helm %s in %.1f s", otherHelm, time.Since(began).Seconds())
	return program
}

// replaceMuster ends the server and starts another build of it, on the same data.
func (d *deployments) replaceMuster(t *testing.T, program string) {
	t.Helper()
	server := d.fleet.Muster.Replica(0)
	ctx, cancel := context.WithTimeout(t.Context(), gracePeriod)
	defer cancel()
	if err := server.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(d.programs, "muster")
	if err := errors.Join(os.Remove(link), os.Symlink(program, link)); err != nil {
		t.Fatal(err)
	}
	if err := d.fleet.Muster.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// testAnotherBuild has one build of Muster deploy, and another one, with another version
// of Helm, find that nothing is to be done: when it starts, when everything is
// reconciled again, and when everything that is deployed is compared with what it
// should be.
func (d *deployments) testAnotherBuild(t *testing.T) {
	own, err := filepath.EvalSymlinks(filepath.Join(d.programs, "muster"))
	if err != nil {
		t.Fatal(err)
	}
	other := buildWithOtherHelm(t)
	d.forgetHooks(t)
	d.let(hookBefore, hookAfter)
	d.depot.healthy.Store(true)
	profile, of := ownerName, d.next(oldVersion)
	d.replaceMuster(t, other)
	d.ask(t, profile, of, "syncMode: ContinuousWithDriftDetection")
	eventually(t, "the other build has deployed", convergence, func(ctx context.Context) error { return d.hasEdition(ctx, profile, of) })

	replaced := time.Now()
	d.replaceMuster(t, own)
	generation := d.generation(t, profile)
	// What has to be looked at again, and changes nothing.
	d.patchHost(t, "sveltoscluster", d.active, `{"metadata": {"labels": {"another": "label"}}}`, "--namespace="+name)
	d.patchHost(t, "clusterprofile", profile, `{"spec": {"stopMatchingBehavior": "LeavePolicies"}}`)
	eventually(t, "all of it is looked at again", convergence, func(ctx context.Context) error {
		if now := d.generation(t, profile); now <= generation {
			return errors.New("the summary is not changed yet")
		}
		return d.hasEdition(ctx, profile, of)
	})
	d.patchHost(t, "clusterprofile", profile, `{"spec": {"stopMatchingBehavior": "WithdrawPolicies"}}`)
	d.touch(t)
	d.expectRepaired(t, profile, of)
	d.expectWritten(t, replaced, "patch configmaps "+midContent)

	// By now it would have written whatever it wants to.
	next := d.next(oldVersion)
	d.ask(t, profile, next, "syncMode: ContinuousWithDriftDetection")
	eventually(t, "a change is deployed", convergence, func(ctx context.Context) error { return d.hasEdition(ctx, profile, next) })
	d.remove(t, profile)
	eventually(t, "nothing is left", convergence, func(ctx context.Context) error { return d.hasEdition(ctx, "", edition{}) })
}

// generation is that of a profile's summary.
func (d *deployments) generation(t *testing.T, profile string) int64 {
	t.Helper()
	summaries, err := d.summariesOf(t.Context(), profile)
	if err != nil || len(summaries) != 1 {
		t.Fatalf("%s has the summaries %v, %v", profile, summaries, err)
	}
	return summaries[0].Generation
}

func (d *deployments) patchHost(t *testing.T, kind, object, patch string, more ...string) {
	t.Helper()
	args := append([]string{"patch", kind, object, "--type=merge", "--patch=" + patch}, more...)
	if _, err := d.fleet.Kubectl(t.Context(), args...); err != nil {
		t.Fatal(err)
	}
}

// touch changes every object that is deployed, in what is nobody's, so that each is
// compared with what it should be.
func (d *deployments) touch(t *testing.T) {
	t.Helper()
	patch := []byte(`{"metadata": {"annotations": {"touched": "true"}}}`)
	objects, err := d.objects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	state, err := d.release(t.Context(), d.active)
	if err != nil {
		t.Fatal(err)
	}
	resources := map[string]schema.GroupVersionResource{}
	for _, resource := range append(contentResources(), chartResources()...) {
		resources[strings.TrimSuffix(resource.Resource, "s")] = resource
	}
	for _, object := range append(objects, state.objects...) {
		client := d.dynamic[d.active].Resource(resources[strings.ToLower(object.GetKind())])
		if _, err := client.Namespace(object.GetNamespace()).Patch(t.Context(), object.GetName(), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// expectRepaired has one object drift. It is repaired, after all that was looked at
// before it.
func (d *deployments) expectRepaired(t *testing.T, profile string, of edition) {
	t.Helper()
	drift := []byte(`{"data": {"edition": "drifted"}}`)
	contents := d.managed[d.active].CoreV1().ConfigMaps(contentNamespace)
	if _, err := contents.Patch(t.Context(), midContent, types.MergePatchType, drift, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what has drifted is repaired", convergence, func(ctx context.Context) error { return d.hasEdition(ctx, profile, of) })
}

// expectWritten reads from the cluster's audit log that Muster has written this since,
// and nothing else.
func (d *deployments) expectWritten(t *testing.T, since time.Time, want string) {
	t.Helper()
	events, err := d.fleet.Managed(d.active).AuditEvents(func(event *auditv1.Event) bool {
		return fleet.IsWrite(event) && event.ObjectRef != nil && userAgent.MatchString(event.UserAgent) && event.RequestReceivedTimestamp.After(since) &&
			!strings.Contains(event.RequestURI, "dryRun=All") && !isReview(event)
	})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, event := range events {
		written := fmt.Sprintf("%s %s %s", event.Verb, event.ObjectRef.Resource, event.ObjectRef.Name)
		found = found || written == want
		if written != want {
			t.Errorf("by %s: %s in namespace %q", event.UserAgent, written, event.ObjectRef.Namespace)
		}
	}
	if !found {
		t.Errorf("the audit log does not have what is known to be written: %s", want)
	}
}
