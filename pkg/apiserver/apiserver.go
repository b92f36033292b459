// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package apiserver assembles the API server: both groups on the generic server
// of k8s.io/apiserver, with what they are computed from. Config is completed,
// and New makes a server of it. Nothing is started here.
package apiserver

import (
	"context"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/healthz"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/server/routes"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/component-base/metrics/prometheus/slis"

	configapi "github.com/muster-project/muster/pkg/apis/config"
	"github.com/muster-project/muster/pkg/apis/lib"
	"github.com/muster-project/muster/pkg/apiserver/gather"
	"github.com/muster-project/muster/pkg/apiserver/scheme"
	"github.com/muster-project/muster/pkg/apiserver/trust"
	"github.com/muster-project/muster/pkg/generated/openapi"
	"github.com/muster-project/muster/pkg/registry/config/clusterprofile"
	"github.com/muster-project/muster/pkg/registry/config/clusterreport"
	"github.com/muster-project/muster/pkg/registry/config/clustersummary"
	"github.com/muster-project/muster/pkg/registry/config/deployed"
	"github.com/muster-project/muster/pkg/registry/config/diff"
	"github.com/muster-project/muster/pkg/registry/lib/clusterset"
)

// ExtraConfig is what our API needs besides what every API server needs. All
// fields are required but Gatherers.
type ExtraConfig struct {
	// Selections computes what sets select.
	Selections clusterset.Selections
	// SelectionsReady says whether it can yet; the server is not ready before.
	SelectionsReady healthz.HealthChecker
	// Storage knows whether what is stored is the installation's.
	Storage trust.Storage
	// Revisions are the specs of profiles, shown in ClusterSummaries.
	Revisions clustersummary.Revisions
	// Histories are what profiles have been.
	Histories clusterprofile.Histories
	// Inventories are what views of deployed content are computed from.
	Inventories deployed.Inventories
	// Reports are what profiles in mode DryRun would change, and Diffs finds out what
	// applying any profile would.
	Reports clusterreport.Reports
	Diffs   diff.Differ
	// Gatherers are further registries whose metrics are served.
	Gatherers []prometheus.Gatherer
}

// Config is what a server is made of.
type Config struct {
	GenericConfig *genericapiserver.RecommendedConfig
	ExtraConfig   ExtraConfig
}

type completedConfig struct {
	GenericConfig genericapiserver.CompletedConfig
	ExtraConfig   *ExtraConfig
	retiring      *retirement
}

// CompletedConfig is a Config with everything filled in. It has a private
// pointer, so that there is no other way to one than Complete.
type CompletedConfig struct {
	*completedConfig
}

// Server is our API server.
type Server struct {
	GenericAPIServer *genericapiserver.GenericAPIServer
	// Retire ends watches in good time when the server ends. It has to run beside
	// the server, and returns when its context ends.
	Retire func(ctx context.Context) error
}

// NewGenericConfig returns the part of the configuration that does not depend on
// flags: how objects are read and written, and what is said about them. Options
// are applied to it before it is completed.
func NewGenericConfig() *genericapiserver.RecommendedConfig {
	config := genericapiserver.NewRecommendedConfig(scheme.Codecs)
	namer := openapinamer.NewDefinitionNamer(scheme.Scheme)
	config.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(openapi.GetOpenAPIDefinitions, namer)
	config.OpenAPIConfig.Info.Title = "Muster"
	config.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(openapi.GetOpenAPIDefinitions, namer)
	config.OpenAPIV3Config.Info.Title = "Muster"
	// Metrics of all registries are served in place of those of one: see New.
	config.EnableMetrics = false
	return config
}

// Complete fills in what is left to defaults.
func (c *Config) Complete() CompletedConfig {
	// Innermost, so that callers are known and authorized before they are told of
	// the storage.
	chain := c.GenericConfig.BuildHandlerChainFunc
	retiring := newRetirement(c.GenericConfig.ShutdownInitiatedNotify())
	c.GenericConfig.BuildHandlerChainFunc = func(api http.Handler, config *genericapiserver.Config) http.Handler {
		handler := chain(trust.Filter(api, c.ExtraConfig.Storage, scheme.Serializer(), lib.GroupName, configapi.GroupName), config)
		return retiring.filter(handler)
	}
	return CompletedConfig{&completedConfig{
		GenericConfig: c.GenericConfig.Complete(),
		ExtraConfig:   &c.ExtraConfig,
		retiring:      retiring,
	}}
}

// New makes the server and installs both groups.
func (c CompletedConfig) New() (*Server, error) {
	server, err := c.GenericConfig.New("muster", genericapiserver.NewEmptyDelegate())
	if err != nil {
		return nil, fmt.Errorf("make the API server: %w", err)
	}
	groups, err := c.groups()
	if err != nil {
		return nil, err
	}
	if err := server.InstallAPIGroups(groups...); err != nil {
		return nil, fmt.Errorf("install the API groups: %w", err)
	}
	installMetrics(server.Handler.NonGoRestfulMux, c.ExtraConfig.Gatherers)
	storage := c.ExtraConfig.Storage
	if err := server.AddReadyzChecks(callersKnown(c.GenericConfig.Authentication.RequestHeaderConfig), trust.ReadyCheck(storage), trust.WhenTrusted(storage, c.ExtraConfig.SelectionsReady)); err != nil {
		return nil, fmt.Errorf("add the readiness check: %w", err)
	}
	return &Server{GenericAPIServer: server, Retire: c.retiring.run}, nil
}

// installMetrics serves /metrics and /metrics/slis. Three libraries of this
// process have a registry each: what the API server registers is one of them,
// controller-runtime and the embedded etcd have the others.
func installMetrics(target *mux.PathRecorderMux, others []prometheus.Gatherer) {
	// The generic server registers its metrics as it installs them; where it
	// does so is thrown away, for the sake of the handler below.
	routes.DefaultMetrics{}.Install(mux.NewPathRecorderMux("metrics"))
	slis.SLIMetrics{}.Install(target)
	target.Handle("/metrics", gather.Handler(append([]prometheus.Gatherer{legacyregistry.DefaultGatherer}, others...)...))
}
