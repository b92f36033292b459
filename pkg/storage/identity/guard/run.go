// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package guard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/muster-project/muster/pkg/storage/identity"
)

const (
	// accessTimeout limits one question to etcd or to the host.
	accessTimeout = 5 * time.Second
	// lastRecord limits the record that is made when a server ends.
	lastRecord = 2 * time.Second
	// maxSteps is how often storage is judged in a row: marked, recorded, trusted,
	// and a lost race or two.
	maxSteps = 6
)

// Run looks after the storage until ctx ends, and then returns nil, or until
// the process has to start anew, and then returns ErrReplaced. It may be called
// once, and has to run for as long as anything uses the storage.
func (g *Guard) Run(ctx context.Context) error {
	informer := coreinformers.NewFilteredConfigMapInformer(g.opts.Host, g.opts.Namespace, 0, nil, func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, identity.ConfigMapName).String()
	})
	changed := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { g.look() },
		UpdateFunc: func(_, _ any) { g.look() },
		DeleteFunc: func(any) { g.look() },
	}
	if _, err := informer.AddEventHandler(changed); err != nil {
		return fmt.Errorf("watch ConfigMap %s/%s: %w", g.opts.Namespace, identity.ConfigMapName, err)
	}
	working, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() { informer.RunWithContext(working) })
	group.Go(func() { g.check(working) })
	err := g.keep(ctx)
	stop()
	group.Wait()
	if err == nil {
		g.recordLast(ctx)
	}
	return err
}

// check compares the storage with what it is trusted as: every CheckPeriod, and
// whenever somebody wants to be sure. One check runs at a time, so that a
// revision that is lower than the one before has gone back.
func (g *Guard) check(ctx context.Context) {
	ticker := time.NewTicker(g.opts.CheckPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if g.Err() == nil {
				_ = g.checkOnce(ctx) // etcd being away says nothing of what it holds
			}
		case <-g.checks.Wake():
			asked := g.checks.Take()
			asked.End(struct{}{}, g.checkOnce(ctx))
		}
	}
}

// checkOnce returns nil if storage is trusted, and is what it was.
func (g *Guard) checkOnce(ctx context.Context) error {
	if err := g.Err(); err != nil {
		return err
	}
	g.mu.Lock()
	before := g.expected // before the question: what Suspect adds meanwhile is no answer to it
	g.mu.Unlock()
	found, _, err := g.read(ctx)
	if err != nil {
		return err
	}
	if reason := identity.Differs(before, found); reason != "" {
		g.hold(ctx, reason, found)
		return g.Err()
	}
	g.mu.Lock()
	g.expected.Revision = max(g.expected.Revision, found.Revision)
	g.mu.Unlock()
	return g.Err()
}

// keep looks after the record, and decides about storage that is not trusted.
func (g *Guard) keep(ctx context.Context) error {
	ticker := time.NewTicker(g.opts.CheckPeriod)
	defer ticker.Stop()
	var namespace types.UID
	var reported string
	for {
		err := g.keepOnce(ctx, &namespace)
		if errors.Is(err, ErrReplaced) {
			klog.FromContext(ctx).Info("Ending, because storage was replaced while this process ran and can be trusted again")
			return err
		}
		if err != nil && ctx.Err() == nil && err.Error() != reported {
			klog.FromContext(ctx).Error(err, "The record of this installation's storage could not be looked after")
			reported = err.Error()
		}
		if err == nil {
			reported = ""
		}
		select {
		case <-ctx.Done():
			return nil
		case <-g.again:
		case <-ticker.C:
			if g.Err() == nil && !g.recordDue() {
				continue
			}
		}
	}
}

func (g *Guard) keepOnce(ctx context.Context, namespace *types.UID) error {
	ctx, cancel := context.WithTimeout(ctx, accessTimeout)
	defer cancel()
	if g.Err() == nil {
		return ignoreRace(g.maintain(ctx))
	}
	if *namespace == "" {
		found, err := g.opts.Host.CoreV1().Namespaces().Get(ctx, g.opts.Namespace, metav1.GetOptions{})
		if err != nil {
			return g.unknown(fmt.Errorf("read namespace %s of the host: %w", g.opts.Namespace, err))
		}
		*namespace = found.UID
	}
	return g.settle(ctx, *namespace)
}

// settle judges storage that is not trusted, and does what follows from it.
func (g *Guard) settle(ctx context.Context, namespace types.UID) error {
	for range maxSteps {
		stored, configMap, err := g.stored(ctx)
		if err != nil {
			return g.unknown(err)
		}
		kept, err := g.keepEvidence(ctx, stored, configMap)
		if err != nil {
			return g.unknown(ignoreRace(err))
		}
		if !kept {
			continue // what is judged is the record with the evidence
		}
		found, markRevision, err := g.read(ctx)
		if err != nil {
			return g.unknown(err)
		}
		g.note(stored, found)
		verdict := identity.Judge(stored, found, namespace)
		switch verdict.Action {
		case identity.Trust:
			return g.trust(ctx, *stored.Record)
		case identity.MarkIt:
			if verdict.ID == "" {
				verdict.ID = string(uuid.NewUUID())
			}
			err = g.mark(ctx, identity.Mark{ID: verdict.ID, NamespaceUID: namespace}, markRevision)
		case identity.RecordIt:
			record := identity.RecordOf(found, time.Now())
			err = ignoreRace(g.store(ctx, configMap, identity.Stored{Record: &record}))
		default:
			g.holdUntrusted(ctx, stored, verdict.Reason, found)
			return nil
		}
		if err != nil {
			return g.unknown(err)
		}
	}
	return nil // others write too; the next look goes on
}

// note remembers what this process has found.
func (g *Guard) note(stored identity.Stored, found identity.Found) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if stored.Record != nil {
		g.lastRenewed = stored.Record.Renewed
	}
	if g.seen.ClusterID == "" {
		g.seen = found
	}
	if g.seen.ClusterID != found.ClusterID || found.Revision < g.seen.Revision {
		g.tainted = true
	}
	g.seen.Revision = max(g.seen.Revision, found.Revision)
}

// holdUntrusted says why storage is not trusted in the words of the record.
func (g *Guard) holdUntrusted(ctx context.Context, stored identity.Stored, reason identity.Reason, found identity.Found) {
	g.mu.Lock()
	if stored.Record != nil {
		g.expected = *stored.Record
	}
	g.mu.Unlock()
	g.hold(ctx, reason, found)
}

// unknown keeps why nothing can be decided, where nothing was decided before.
func (g *Guard) unknown(err error) error {
	if err == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var held *identity.Held
	if g.err != nil && !errors.As(g.err, &held) {
		g.err = fmt.Errorf("%w: %w", errChecking, err)
	}
	return err
}

// keepEvidence records the highest revision that this process has seen of
// storage that it does not trust any more: it would be forgotten when the
// process ends, and storage that was restored to a moment since the last record
// would pass. It reports whether the record has it already.
func (g *Guard) keepEvidence(ctx context.Context, stored identity.Stored, configMap *configMap) (bool, error) {
	g.mu.Lock()
	known, tainted := g.expected, g.tainted
	g.mu.Unlock()
	if !tainted || known.Installation == "" {
		return true, nil
	}
	if r := stored.Record; r != nil {
		if r.ClusterID != known.ClusterID || r.Installation != known.Installation || r.Revision >= known.Revision {
			return true, nil
		}
		known.Renewed = r.Renewed
	}
	return false, g.store(ctx, configMap, identity.Stored{Record: &known, Confirmed: stored.Confirmed})
}

// maintain keeps the record of trusted storage: it is made again where it was
// deleted or damaged, and renewed when it is time.
func (g *Guard) maintain(ctx context.Context) error {
	g.mu.Lock()
	expected := g.expected
	g.mu.Unlock()
	stored, configMap, err := g.stored(ctx)
	var damaged *damagedError
	if err != nil && !errors.As(err, &damaged) {
		return err
	}
	if r := stored.Record; r != nil {
		if r.Prefix != expected.Prefix || r.ClusterID != expected.ClusterID || r.Installation != expected.Installation {
			return g.supersede(ctx, *r)
		}
		expected.Revision = max(expected.Revision, r.Revision)
		if !g.recordDue() {
			return nil
		}
	}
	expected.Renewed = time.Now()
	if err := g.store(ctx, configMap, identity.Stored{Record: &expected, Confirmed: stored.Confirmed}); err != nil {
		return err
	}
	g.mu.Lock()
	g.recorded = time.Now()
	g.mu.Unlock()
	return nil
}

// supersede stops this server, because a person has confirmed other storage for
// the installation. It may be the same storage with a new mark.
func (g *Guard) supersede(ctx context.Context, record identity.Record) error {
	found, _, err := g.read(ctx)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.expected = record
	g.mu.Unlock()
	g.hold(ctx, identity.Superseded, found)
	return nil
}

// recordDue says whether it is time to record the highest revision.
func (g *Guard) recordDue() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Since(g.recorded) >= g.opts.RecordPeriod
}

// recordLast records the highest revision when the server ends, after whatever
// has written last.
func (g *Guard) recordLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastRecord)
	defer cancel()
	if g.Err() != nil || g.checkOnce(ctx) != nil {
		return
	}
	g.mu.Lock()
	g.recorded = time.Time{}
	g.mu.Unlock()
	if err := g.maintain(ctx); err != nil && !isRace(err) {
		klog.FromContext(ctx).Error(err, "The last revision could not be recorded")
	}
}

// ignoreRace forgets that another server wrote the ConfigMap in between: its
// write is on its way to us as an event.
func ignoreRace(err error) error {
	if isRace(err) {
		return nil
	}
	return err
}

func isRace(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }
