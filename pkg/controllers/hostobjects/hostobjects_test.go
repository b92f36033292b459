// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package hostobjects

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"

	"github.com/muster-project/muster/pkg/script/fieldpath"
)

func widget(replicas int64, phase string) map[string]any {
	return map[string]any{"spec": map[string]any{"replicas": replicas}, "status": map[string]any{"phase": phase}, "generation": replicas}
}

// later lets the pause pass in which nobody is told of the same object again.
func later() { time.Sleep(2 * pause) }

func TestReadersAreToldOfWhatTheyLookAt(t *testing.T) {
	inHost(t, nil, func(h *host) {
		h.put("w", widget(1, "a"))
		h.read("all", "w", Filter{})
		h.read("spec", "w", Filter{IgnoreStatus: true})
		h.read("replicas", "w", Filter{Fields: []fieldpath.Path{{"spec", "replicas"}}})
		h.read("phase", "w", Filter{IgnoreStatus: true, Fields: []fieldpath.Path{{"status", "phase"}}})
		h.tells("nothing happened")
		if got := h.watched(); !slices.Equal(got, []string{"widgets "}) {
			t.Errorf("watches: %q", got)
		}

		h.put("w", widget(1, "a"))
		h.tells("another resourceVersion")
		managed := widget(1, "a")
		managed["managedFields"] = []any{map[string]any{"manager": "x"}}
		h.put("w", managed)
		h.tells("other managers")
		h.put("other", widget(1, "a"))
		h.tells("another object")

		h.put("w", widget(1, "b"))
		h.tells("the status", "all")
		h.read("all", "w", Filter{})
		later()
		labelled := widget(1, "b")
		labelled["labels"] = map[string]any{"a": "b"}
		h.put("w", labelled)
		h.tells("a label", "all", "spec")
		h.read("all", "w", Filter{})
		h.read("spec", "w", Filter{IgnoreStatus: true})
		later()
		h.put("w", widget(2, "b"))
		h.tells("all of it", "all", "replicas", "spec")
		for _, reader := range []string{"all", "spec", "replicas"} {
			h.store.Forget(types.NamespacedName{Name: reader})
		}
		later()
		h.remove("w")
		h.tells("its end", "phase")
	})
}

func TestMissingObjects(t *testing.T) {
	inHost(t, nil, func(h *host) {
		var missing *Error
		if err := h.read("a", "w", Filter{}).Err; !errors.As(err, &missing) || !missing.Missing() || missing.NoKind() ||
			err.Error() != "Widget civo/w of the host: does not exist" {
			t.Errorf("missing object: %v", err)
		}
		h.put("w", widget(1, "a"))
		h.tells("its appearance", "a")
		if answer := h.read("a", "w", Filter{}); answer.Err != nil || answer.Object.GetName() != "w" {
			t.Errorf("%v", answer)
		}
		err := h.readAll("a", Want{Kind: schema.GroupVersionKind{Group: "a.b", Version: "v1", Kind: "None"}, Name: "x"})[0].Err
		if !errors.As(err, &missing) || !missing.Missing() || !missing.NoKind() || !strings.Contains(err.Error(), "the host has no kind None at a.b/v1") {
			t.Errorf("missing kind: %v", err)
		}
	})
}

// The watch of a kind ends with the last reader that names an object of it, and not while
// the same reader reads it again.
func TestWatchesEndWithTheirReaders(t *testing.T) {
	inHost(t, nil, func(h *host) {
		h.put("w", widget(1, "a"))
		wall := Want{Kind: wallKind, Namespace: "ignored", Name: "north"}
		w := Want{Kind: widgetKind, Namespace: "civo", Name: "w"}
		h.readAll("a", w, wall, w)
		h.readAll("b", w)
		if got := h.watched(); !slices.Equal(got, []string{"walls ", "widgets "}) {
			t.Errorf("watches: %q", got)
		}
		h.readAll("a", w)
		if got := h.watched(); !slices.Equal(got, []string{"widgets "}) {
			t.Errorf("after a reads no wall: %q", got)
		}
		lists := len(h.metadata.Actions())
		h.readAll("a", w)
		h.readAll("b")
		if got := len(h.metadata.Actions()); got != lists {
			t.Error("reading again has begun another watch")
		}
		h.put("w", widget(2, "a"))
		h.tells("a change", "a")
		h.store.Forget(types.NamespacedName{Name: "a"})
		if got := h.watched(); len(got) != 0 {
			t.Errorf("nobody reads, watches: %q", got)
		}
		later()
		h.put("w", widget(3, "a"))
		h.tells("a change that nobody asked for")
	})
}

func TestRightsThatAreMissing(t *testing.T) {
	inHost(t, nil, func(h *host) {
		h.put("w", widget(1, "a"))
		h.forbid("list", true)
		h.forbid("watch", true)
		var refused *Error
		err := h.read("a", "w", Filter{}).Err
		const rule = `{apiGroups: ["example.com"], resources: [widgets], verbs: [get, list, watch]}, for all namespaces or for "civo"`
		if !errors.As(err, &refused) || !refused.Refused() || refused.Missing() || !strings.Contains(err.Error(), "Widget civo/w of the host: Muster has no right") ||
			!strings.Contains(err.Error(), rule) {
			t.Errorf("error is %v", err)
		}
		asked := len(h.metadata.Actions())
		h.read("b", "w", Filter{})
		if got := len(h.metadata.Actions()); got != asked {
			t.Error("another reader has asked the host again at once")
		}
	})
}

// Rights in the one namespace are enough.
func TestRightsInOneNamespace(t *testing.T) {
	inHost(t, nil, func(h *host) {
		h.put("w", widget(1, "a"))
		h.forbid("list", false)
		h.forbid("watch", false)
		if err := h.read("a", "w", Filter{}).Err; err != nil {
			t.Fatal(err)
		}
		if got := h.watched(); !slices.Equal(got, []string{"widgets civo"}) {
			t.Errorf("watches: %q", got)
		}
		h.put("w", widget(2, "a"))
		h.tells("a change", "a")
	})
}

func TestWhatMayNotBeRead(t *testing.T) {
	inHost(t, []string{"civo"}, func(h *host) {
		h.put("w", widget(1, "a"))
		for name, tt := range map[string]struct {
			want Want
			says string
		}{
			"other namespace":       {Want{Kind: widgetKind, Namespace: "other", Name: "w", Tenant: "civo"}, `own namespace "civo" only`},
			"no namespace":          {Want{Kind: wallKind, Name: "north", Tenant: "civo"}, "the kind has no namespace"},
			"out of the flag":       {Want{Kind: widgetKind, Namespace: "other", Name: "w"}, "--source-namespaces"},
			"in it":                 {Want{Kind: widgetKind, Namespace: "civo", Name: "w", Tenant: "civo"}, ""},
			"no namespace, for all": {Want{Kind: wallKind, Name: "north"}, "does not exist"},
		} {
			err := h.readAll(name, tt.want)[0].Err
			var refused *Error
			switch {
			case tt.says == "" && err == nil:
			case tt.says == "" || !errors.As(err, &refused) || !strings.Contains(err.Error(), tt.says):
				t.Errorf("%s: %v, want %q", name, err, tt.says)
			case refused.Refused() == refused.Missing():
				t.Errorf("%s: refused is %t, missing is %t", name, refused.Refused(), refused.Missing())
			}
		}
		if got := h.watched(); !slices.Equal(got, []string{"walls ", "widgets civo"}) {
			t.Errorf("watches: %q, want none of all namespaces", got)
		}
	})
}

// What changes while it is read is not lost between the reading and the watch.
func TestAChangeWhileItIsRead(t *testing.T) {
	inHost(t, nil, func(h *host) {
		h.put("w", widget(1, "a"))
		h.read("other", "w", Filter{}) // the kind is watched
		var changed atomic.Bool
		h.objects.PrependReactor("get", "widgets", func(clienttesting.Action) (bool, runtime.Object, error) {
			if changed.Swap(true) {
				return false, nil, nil
			}
			found, err := h.objects.Tracker().Get(widgets, "civo", "w")
			h.put("w", widget(2, "a"))
			return true, found, err
		})
		if answer := h.read("a", "w", Filter{}); answer.Err != nil {
			t.Fatal(answer.Err)
		}
		later() // "other" may have been told already, and "a" waits then
		h.tells("a change in between", "a", "other")
	})
}

// An object that changes all the time does not have its readers work all the time.
func TestAHotObject(t *testing.T) {
	inHost(t, nil, func(h *host) {
		h.put("w", widget(1, "a"))
		h.read("a", "w", Filter{})
		told := 0
		for i := range int64(40) {
			h.put("w", widget(i+2, "a"))
			synctest.Wait()
			h.mu.Lock()
			now := len(h.told)
			h.told = nil
			h.mu.Unlock()
			if now > 0 {
				told += now
				h.read("a", "w", Filter{})
			}
			time.Sleep(100 * time.Millisecond)
		}
		if told < 3 || told > 5 {
			t.Errorf("told %d times in four seconds", told)
		}
	})
}

// A host that does not answer holds nobody up for ever, and what it cannot say is asked
// again.
func TestAHostThatDoesNotAnswer(t *testing.T) {
	inHost(t, nil, func(h *host) {
		h.put("w", widget(1, "a"))
		var recovered atomic.Bool
		h.metadata.PrependReactor("*", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
			return !recovered.Load(), nil, apierrors.NewInternalError(errors.New("etcd is gone"))
		})
		began := time.Now()
		err := h.read("a", "w", Filter{}).Err
		if err == nil || !strings.Contains(err.Error(), "the host did not answer a list of widgets.example.com within 10s") || time.Since(began) != watchLimit {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		recovered.Store(true)
		if err := h.read("a", "w", Filter{}).Err; err != nil {
			t.Errorf("after it recovered: %v", err)
		}
		ended, cancel := context.WithCancel(h.Context())
		cancel()
		if err := h.store.Read(ended, types.NamespacedName{Name: "b"}, []Want{{Kind: wallKind, Name: "x"}})[0].Err; !errors.Is(err, context.Canceled) {
			t.Errorf("without time: %v", err)
		}
	})
}

// The readers of what may not be watched any more are told, so that they can say so.
func TestARightThatIsTakenAway(t *testing.T) {
	inHost(t, nil, func(h *host) {
		h.put("w", widget(1, "a"))
		h.read("a", "w", Filter{})
		h.forbid("list", true)
		h.forbid("watch", true)
		h.store.mu.Lock()
		var w *watch
		for _, w = range h.store.watches {
		}
		h.store.mu.Unlock()
		h.store.refuse(w, apierrors.NewForbidden(widgets.GroupResource(), "", nil))
		h.tells("the refusal", "a")
		var refused *Error
		if err := h.read("a", "w", Filter{}).Err; !errors.As(err, &refused) || !refused.Refused() {
			t.Errorf("error is %v", err)
		}
	})
}

// Changes of some kinds are told by somebody else, and these are not watched.
func TestTouch(t *testing.T) {
	inHost(t, nil, func(h *host) {
		h.store.options.Watched = []schema.GroupVersionResource{widgets}
		h.put("w", widget(1, "a"))
		h.read("a", "w", Filter{})
		if got := h.watched(); len(got) != 0 {
			t.Errorf("watches: %q", got)
		}
		h.put("w", widget(2, "a"))
		h.tells("nothing was said")
		h.store.Touch(widgets, types.NamespacedName{Namespace: "civo", Name: "other"})
		h.tells("another object")
		h.store.Touch(widgets, types.NamespacedName{Namespace: "civo", Name: "w"})
		h.tells("it was said", "a")
	})
}

// Who asks once needs no Run, is told of no changes, and gets what a reader would.
func TestOnce(t *testing.T) {
	inHost(t, nil, func(h *host) {
		h.put("w", widget(1, "a"))
		once := Once{NewStore(h.store.options)}
		answers := once.Read(t.Context(), types.NamespacedName{Name: "a"}, []Want{
			{Kind: widgetKind, Namespace: "civo", Name: "w"}, {Kind: widgetKind, Namespace: "civo", Name: "gone"},
			{Kind: widgetKind, Namespace: "civo", Name: "w", Tenant: "other"},
		})
		if answers[0].Err != nil || answers[0].Object.GetName() != "w" || len(answers[0].Object.GetManagedFields()) > 0 {
			t.Errorf("got %+v", answers[0])
		}
		var missing *Error
		if !errors.As(answers[1].Err, &missing) || !missing.Missing() || !errors.Is(answers[2].Err, ErrNotAllowed) {
			t.Errorf("errors %v, %v", answers[1].Err, answers[2].Err)
		}
		if len(once.watches) > 0 {
			t.Error("it watches")
		}
	})
}
