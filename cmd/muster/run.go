// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/storage/value"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/muster-project/muster/cmd/muster/options"
	"github.com/muster-project/muster/pkg/apiserver"
	"github.com/muster-project/muster/pkg/apiserver/index"
	"github.com/muster-project/muster/pkg/apiserver/permits"
	shown "github.com/muster-project/muster/pkg/apiserver/revisions"
	"github.com/muster-project/muster/pkg/controllers"
	"github.com/muster-project/muster/pkg/controllers/term"
	"github.com/muster-project/muster/pkg/deploy/inventory"
	"github.com/muster-project/muster/pkg/deploy/report"
	"github.com/muster-project/muster/pkg/deploy/revision"
	"github.com/muster-project/muster/pkg/render"
	"github.com/muster-project/muster/pkg/script"
	"github.com/muster-project/muster/pkg/selection"
	"github.com/muster-project/muster/pkg/storage/etcd"
	"github.com/muster-project/muster/pkg/storage/follow"
	"github.com/muster-project/muster/pkg/storage/identity/guard"
	"github.com/muster-project/muster/pkg/storage/records"
)

// recordsResource is what an EncryptionConfiguration calls the records, which
// are no objects of an API. Like every resource it is covered by "*.*".
var recordsResource = schema.GroupResource{Group: "muster.projectsveltos.io", Resource: "records"}

// maxParsed is how much of what sources were parsed to is remembered, in bytes of JSON.
const maxParsed = 8 << 20

// process is everything that runs.
type process struct {
	server *genericapiserver.GenericAPIServer
	// lead runs terms until its context ends: all the time, or on a Lease.
	lead   func(context.Context) error
	client *clientv3.Client
	// storage knows whether what is in etcd is this installation's.
	storage *guard.Guard
	// background is what the server needs around it, by name. All of it ends
	// after the server.
	background map[string]func(context.Context) error
}

// newProcess assembles everything and starts nothing. embedded is nil where
// etcd is external.
func newProcess(ctx context.Context, o options.CompletedOptions, host *host, embedded *etcd.Server) (*process, error) {
	config := apiserver.NewGenericConfig()
	if err := o.ApplyTo(config); err != nil {
		return nil, err
	}
	permitted := permits.New(config.Authorization.Authorizer, o.Permits())
	config.Authorization.Authorizer = permitted
	client, err := etcd.NewClient(ctx, o.EtcdClient())
	if err != nil {
		return nil, err
	}
	storage := guard.New(ctx, guard.Options{
		Client: client, Host: host.client, Namespace: o.Namespace, Prefix: o.Prefix(), Embedded: embedded != nil,
	})
	p := &process{client: client, storage: storage, background: map[string]func(context.Context) error{
		"authorizations": permitted.Run,
		"registrations":  host.registrar.Run,
		"storage":        storage.Run,
	}}
	if err := p.assemble(ctx, o, host, embedded, config); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// shared is what the server and the controllers are made on.
type shared struct {
	gate        *term.Gate
	selections  *selection.Index
	feed        *index.Feed
	records     *records.Store
	inventories *inventory.Store
	// scripts evaluate templates and Lua, and builds what takes longer.
	scripts, builds *script.Pool
	diffs           *previews
}

// previews answer for the server, and are made when it is: they read through its own
// API.
type previews struct{ *controllers.Previews }

// assemble makes the server and the controllers on what they share.
func (p *process) assemble(ctx context.Context, o options.CompletedOptions, host *host, embedded *etcd.Server, config *genericapiserver.RecommendedConfig) error {
	s, err := p.newShared(ctx, o, host, embedded, config)
	if err != nil {
		return err
	}
	specs := shown.New(revision.NewStore(s.records))
	server, err := (&apiserver.Config{GenericConfig: config, ExtraConfig: apiserver.ExtraConfig{
		Selections:      s.feed,
		SelectionsReady: s.feed.ReadyCheck(),
		Storage:         p.storage,
		Revisions:       specs,
		Histories:       newHistories(s.records, specs, host.client),
		Inventories:     s.inventories,
		Reports:         report.NewStore(inventory.OnRecords(s.records)),
		Diffs:           s.diffs,
		Gatherers:       []prometheus.Gatherer{ctrlmetrics.Registry, prometheus.DefaultGatherer},
	}}).Complete().New()
	if err != nil {
		return err
	}
	p.server = server.GenericAPIServer
	if err := p.prepareTerms(o, host, s); err != nil {
		return err
	}
	p.background["selection index"] = func(ctx context.Context) error { return p.follow(ctx, s.feed) }
	p.background["script workers"] = s.scripts.Run
	p.background["build workers"] = s.builds.Run
	p.background["end of watches"] = server.Retire
	if host.certificate != nil {
		p.background["serving certificate"] = host.certificate.Run
		if err := p.server.AddReadyzChecks(host.certificate.ReadyCheck()); err != nil {
			return fmt.Errorf("add the readiness check of the certificate: %w", err)
		}
	}
	if host.tenure != nil {
		p.background["embedded etcd's Lease"] = host.tenure.Run
	}
	if embedded != nil {
		p.background["embedded etcd"] = func(ctx context.Context) error { return wait(ctx, embedded.Done()) }
	}
	return nil
}

// newShared makes the write gate, the index and the records.
func (p *process) newShared(ctx context.Context, o options.CompletedOptions, host *host, embedded *etcd.Server, config *genericapiserver.RecommendedConfig) (*shared, error) {
	gateOptions, err := o.GateOptions(host.config)
	if err != nil {
		return nil, err
	}
	s := &shared{
		gate:       term.NewGate(gateOptions),
		selections: selection.NewIndex(),
		scripts:    script.NewPool(script.Options{Command: workerCommand()}),
		builds:     script.NewPool(script.Options{Command: workerCommand(), MemoryLimit: buildMemory, WallLimit: buildTime}),
		diffs:      &previews{},
	}
	var encryption value.Transformer
	feedOptions := index.Options{Prefix: o.Prefix(), Logger: klog.FromContext(ctx)}
	if config.ResourceTransformers != nil {
		feedOptions.Transformers = config.ResourceTransformers
		encryption = config.ResourceTransformers.TransformerForResource(recordsResource)
	}
	if embedded != nil {
		feedOptions.CurrentRevision = embedded.Revision
	}
	s.feed = index.New(s.selections, p.client, feedOptions)
	s.records = records.NewStore(p.client, o.Prefix(), encryption, s.gate.Epoch)
	s.inventories = inventory.NewStore(inventory.OnRecords(s.records))
	return s, nil
}

// prepareTerms has the controllers run in terms: one without end where nobody else
// can lead.
func (p *process) prepareTerms(o options.CompletedOptions, host *host, s *shared) error {
	replica, err := replicaName()
	if err != nil {
		return err
	}
	dependencies := &controllers.Dependencies{
		Loopback:     jsonOnly(p.server.LoopbackClientConfig),
		Host:         host.config,
		Reach:        o.Reach(),
		Gate:         s.gate,
		Installation: p.storage.Installation,
		Replica:      replica,
		Index:        s.selections,
		WaitCurrent:  s.feed.WaitCurrent,
		Records:      s.records,
		Inventories:  s.inventories,
		Renderer:     &render.Renderer{Templates: s.scripts, Scripts: s.scripts, Parsed: render.NewParsed(maxParsed)},
		Scripts:      s.scripts,
		Builds:       s.builds,
		Mirror:       o.Mirrors.Resolve,
		Addresses:    o.Addresses,
		HistoryLimit: o.RevisionHistoryLimit,
		Elected:      o.Elected,
	}
	if s.diffs.Previews, err = dependencies.NewPreviews(); err != nil {
		return err
	}
	runner := term.NewRunner(term.RunnerOptions{
		Gate:       s.gate,
		RaiseEpoch: func(ctx context.Context) (int64, error) { return p.raiseEpoch(ctx, o.Prefix()) },
		NewTerm:    dependencies.NewTerm,
		// It answers when etcd does, and when the index follows it.
		Check: func(ctx context.Context) error {
			_, err := s.feed.WaitCurrent(ctx)
			return err
		},
	})
	p.lead = runner.Run
	if o.Elected {
		elector, err := o.NewElector(host.config, replica, s.gate, runner)
		if err != nil {
			return err
		}
		p.lead = elector.Run
	}
	return nil
}

// raiseEpoch writes to etcd, and so asks first whose etcd it is.
func (p *process) raiseEpoch(ctx context.Context, prefix string) (int64, error) {
	if err := p.storage.Verify(ctx); err != nil {
		return 0, err
	}
	return records.RaiseEpoch(ctx, p.client, prefix)
}

// follow feeds the index while storage is trusted. A store that was replaced
// does not end the process: it is held.
func (p *process) follow(ctx context.Context, feed *index.Feed) error {
	return p.storage.While(ctx, func(ctx context.Context) error {
		err := feed.Run(ctx)
		if errors.Is(err, follow.ErrStoreReplaced) {
			p.storage.Suspect(ctx, feed.Revision())
			return nil
		}
		return err
	})
}

// run serves until ctx ends or a part fails, and returns when all parts have
// ended: the controllers first, while the server still answers them, then the
// server, then what it needs.
func (p *process) run(ctx context.Context) error {
	serving, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	lasting, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var background errgroup.Group
	for name, run := range p.background {
		background.Go(func() error {
			err := run(lasting)
			if err == nil && lasting.Err() == nil {
				err = errors.New("ended by itself")
			}
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
				fail(err)
			}
			return err
		})
	}
	endControllers, err := p.addControllers(lasting, fail)
	if err == nil {
		err = p.server.PrepareRun().RunWithContext(serving)
	}
	led := endControllers()
	end()
	ended := background.Wait()
	if cause := context.Cause(serving); cause != nil && ctx.Err() == nil {
		return errors.Join(cause, err)
	}
	return errors.Join(err, led, ended)
}

// addControllers has terms begin when the server serves, because controllers
// work through it, and end, the Lease being released, before it stops to: the
// server is not ready any more, and still accepts requests. The returned function
// ends them where the server has never come that far, and says what they failed
// with.
func (p *process) addControllers(ctx context.Context, fail context.CancelCauseFunc) (end func() error, err error) {
	ctx, stop := context.WithCancel(ctx)
	served, done := make(chan struct{}), make(chan struct{})
	var failed error // set when done is closed
	go func() {
		defer close(done)
		select {
		case <-served:
		case <-ctx.Done():
			return
		}
		if err := p.storage.While(ctx, p.lead); err != nil {
			failed = fmt.Errorf("controllers: %w", err)
			fail(failed)
		}
	}()
	end = func() error {
		stop()
		<-done
		return failed
	}
	const hook = "muster-controllers"
	return end, errors.Join(
		p.server.AddPostStartHook(hook, func(genericapiserver.PostStartHookContext) error {
			close(served)
			return nil
		}),
		p.server.AddPreShutdownHook(hook, func() error {
			_ = end() // run asks again; an error here would cut off requests
			return nil
		}),
	)
}

// close gives back what newProcess has opened.
func (p *process) close() {
	if err := p.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		klog.ErrorS(err, "The etcd client could not be closed")
	}
}

// wait returns the first error from failed, or nil when ctx ends.
func wait(ctx context.Context, failed <-chan error) error {
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// jsonOnly is config for types that have no other encoding.
func jsonOnly(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeJSON, runtime.ContentTypeJSON
	return config
}

// replicaName names this process among all that ever ran: a Pod keeps its name
// when its container is restarted.
func replicaName() (string, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("name this replica: %w", err)
	}
	return hostname + "-" + string(uuid.NewUUID())[:8], nil
}
