// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package permits

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// host answers every question in the same way, and counts.
type host struct {
	mu       sync.Mutex
	decision authorizer.Decision
	err      error
	asked    int
	takes    time.Duration
}

func (h *host) says(decision authorizer.Decision, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.decision, h.err = decision, err
}

func (h *host) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

func (h *host) authorizer() authorizer.Authorizer {
	return authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
		time.Sleep(h.takes)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.asked++
		return h.decision, "because", h.err
	})
}

// running is an authorizer in a bubble with a clock of its own.
func running(t *testing.T, h *host) *Authorizer {
	t.Helper()
	a := New(h.authorizer(), Options{Allowed: 10 * time.Second, Refused: 4 * time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return a
}

func ask(t *testing.T, a *Authorizer, want authorizer.Decision) {
	t.Helper()
	decision, reason, err := a.Authorize(t.Context(), base())
	if decision != want || reason != "because" || err != nil {
		t.Fatalf("decided %v, %q, %v, want %v", decision, reason, err, want)
	}
}

func base() *authorizer.AttributesRecord {
	return &authorizer.AttributesRecord{User: &user.DefaultInfo{Name: "ann"}, Verb: "get", Resource: "clustersets", Name: "s", ResourceRequest: true}
}

func TestAnAnswerInUseIsRenewedBehindTheScenes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{decision: authorizer.DecisionAllow, takes: time.Second}
		a := running(t, h)
		ask(t, a, authorizer.DecisionAllow)
		for range 100 {
			before := time.Now()
			ask(t, a, authorizer.DecisionAllow)
			if waited := time.Since(before); waited > 0 {
				t.Fatalf("waited %s for an answer that is in use", waited)
			}
			time.Sleep(time.Second)
		}
		// One at the beginning, and about one for each 5 s.
		if asked := h.count(); asked < 15 || asked > 22 {
			t.Errorf("the host was asked %d times in 100 s", asked)
		}
	})
}

func TestAWithdrawnPermitEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{decision: authorizer.DecisionAllow}
		a := running(t, h)
		ask(t, a, authorizer.DecisionAllow)
		h.says(authorizer.DecisionNoOpinion, nil)
		// The renewal finds out at half time.
		time.Sleep(5 * time.Second)
		ask(t, a, authorizer.DecisionAllow)
		synctest.Wait()
		ask(t, a, authorizer.DecisionNoOpinion)
		// And a refusal is asked for again when its own time is over.
		h.says(authorizer.DecisionAllow, nil)
		time.Sleep(4*time.Second + time.Millisecond)
		ask(t, a, authorizer.DecisionAllow)
	})
}

func TestNoAnswerOutlivesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{decision: authorizer.DecisionAllow, takes: 3 * time.Second}
		a := running(t, h)
		ask(t, a, authorizer.DecisionAllow)
		h.says(authorizer.DecisionAllow, errors.New("no connection"))
		// It was asked for 3 s ago: 7 s are left.
		time.Sleep(7*time.Second - time.Millisecond)
		ask(t, a, authorizer.DecisionAllow)
		time.Sleep(2 * time.Millisecond)
		if _, _, err := a.Authorize(t.Context(), base()); err == nil {
			t.Error("an answer from 10 s ago was given while the host does not answer")
		}
	})
}

func TestErrorsAreNotRemembered(t *testing.T) {
	h := &host{decision: authorizer.DecisionAllow, err: errors.New("no connection")}
	a := New(h.authorizer(), Options{Allowed: time.Hour, Refused: time.Hour})
	for range 2 {
		if _, _, err := a.Authorize(t.Context(), base()); err == nil {
			t.Fatal("no error")
		}
	}
	if asked := h.count(); asked != 2 {
		t.Errorf("the host was asked %d times, want 2", asked)
	}
}

func TestQuestionsThatAreTooLongAreNotRemembered(t *testing.T) {
	h := &host{decision: authorizer.DecisionAllow}
	a := New(h.authorizer(), Options{Allowed: time.Hour})
	long := base()
	long.Name = strings.Repeat("x", maxQuestion)
	for range 2 {
		if _, _, err := a.Authorize(t.Context(), long); err != nil {
			t.Fatal(err)
		}
	}
	if asked := h.count(); asked != 2 {
		t.Errorf("the host was asked %d times, want 2", asked)
	}
}

// Whatever an authorizer can see tells questions apart: an answer to one of them
// must never be given to another.
func TestEveryAttributeTellsQuestionsApart(t *testing.T) {
	requirement, err := labels.NewRequirement("a", selection.In, []string{"b", "c"})
	if err != nil {
		t.Fatal(err)
	}
	change := map[string]func(*authorizer.AttributesRecord){
		"User":                      func(r *authorizer.AttributesRecord) { r.User = &user.DefaultInfo{Name: "bob"} },
		"Verb":                      func(r *authorizer.AttributesRecord) { r.Verb = "list" },
		"Namespace":                 func(r *authorizer.AttributesRecord) { r.Namespace = "n" },
		"APIGroup":                  func(r *authorizer.AttributesRecord) { r.APIGroup = "g" },
		"APIVersion":                func(r *authorizer.AttributesRecord) { r.APIVersion = "v" },
		"Resource":                  func(r *authorizer.AttributesRecord) { r.Resource = "sets" },
		"Subresource":               func(r *authorizer.AttributesRecord) { r.Subresource = "selection" },
		"Name":                      func(r *authorizer.AttributesRecord) { r.Name = "other" },
		"ResourceRequest":           func(r *authorizer.AttributesRecord) { r.ResourceRequest = false },
		"Path":                      func(r *authorizer.AttributesRecord) { r.Path = "/p" },
		"FieldSelectorRequirements": func(r *authorizer.AttributesRecord) { r.FieldSelectorRequirements = fields.Requirements{{Field: "f"}} },
		"LabelSelectorRequirements": func(r *authorizer.AttributesRecord) { r.LabelSelectorRequirements = labels.Requirements{*requirement} },
		// Errors are not remembered at all.
		"FieldSelectorParsingErr": func(r *authorizer.AttributesRecord) { r.FieldSelectorParsingErr = errors.New("bad") },
		"LabelSelectorParsingErr": func(r *authorizer.AttributesRecord) { r.LabelSelectorParsingErr = errors.New("bad") },
	}
	for i := range reflect.TypeFor[authorizer.AttributesRecord]().NumField() {
		if name := reflect.TypeFor[authorizer.AttributesRecord]().Field(i).Name; change[name] == nil {
			t.Errorf("attribute %s is not looked at", name)
		}
	}
	for name, of := range map[string]func(*user.DefaultInfo){
		"uid":    func(u *user.DefaultInfo) { u.UID = "u" },
		"groups": func(u *user.DefaultInfo) { u.Groups = []string{"g"} },
		"extra":  func(u *user.DefaultInfo) { u.Extra = map[string][]string{"k": {"v"}} },
	} {
		change["user's "+name] = func(r *authorizer.AttributesRecord) {
			changed := &user.DefaultInfo{Name: "ann"}
			of(changed)
			r.User = changed
		}
	}
	plain, _ := encode(base())
	seen := map[string]string{plain: "nothing"}
	for name, do := range change {
		record := base()
		do(record)
		encoded, ok := encode(record)
		if ok == strings.HasSuffix(name, "ParsingErr") {
			t.Errorf("%s: to be remembered is %t", name, ok)
		}
		if other, known := seen[encoded]; ok && known {
			t.Errorf("changing %s makes the same question as changing %s: %s", name, other, encoded)
		}
		seen[encoded] = name
	}
}

func BenchmarkAuthorize(b *testing.B) {
	h := &host{decision: authorizer.DecisionAllow}
	a := New(h.authorizer(), Options{Allowed: time.Hour})
	records := make([]*authorizer.AttributesRecord, 100)
	for i := range records {
		records[i] = base()
		records[i].Name = fmt.Sprint(i)
	}
	for i := 0; b.Loop(); i++ {
		if _, _, err := a.Authorize(b.Context(), records[i%len(records)]); err != nil {
			b.Fatal(err)
		}
	}
}
