// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"k8s.io/klog/v2"
)

const (
	// The same as the API server's own etcd client: a dead member is noticed in 40 s at most.
	dialTimeout      = 20 * time.Second
	keepAlivePeriod  = 30 * time.Second
	keepAliveTimeout = 10 * time.Second
)

// ClientConfig says where etcd is and how to talk to it. The fields mean what the API server's
// flags --etcd-servers, --etcd-certfile, --etcd-keyfile and --etcd-cafile mean.
type ClientConfig struct {
	// Endpoints are URLs: https://host:port, http://host:port, unix:///path.
	Endpoints []string
	// CertFile and KeyFile are the client's certificate and key, PEM files. Both or neither.
	CertFile, KeyFile string
	// CAFile is what the servers' certificates are verified with, a PEM file.
	CAFile string
}

// NewClient returns a client for etcd, which the caller closes. It does not wait for a
// connection: the first request makes one. The client logs through ctx's logger, and ctx does not
// limit its life.
func NewClient(ctx context.Context, cfg ClientConfig) (*clientv3.Client, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, errors.New("etcd client: no endpoints are set")
	}
	tlsConfig, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		DialTimeout:          dialTimeout,
		DialKeepAliveTime:    keepAlivePeriod,
		DialKeepAliveTimeout: keepAliveTimeout,
		TLS:                  tlsConfig,
		Logger:               NewZapLogger(klog.FromContext(ctx).WithName("etcd-client"), new(atomic.Bool)),
	})
	if err != nil {
		return nil, fmt.Errorf("etcd client: %w", err)
	}
	return client, nil
}

// tls is nil for a connection without TLS: clientv3 would otherwise use it for any endpoint.
func (cfg ClientConfig) tls() (*tls.Config, error) {
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return nil, errors.New("etcd client: a certificate and its key are needed, or neither")
	}
	if cfg.CertFile == "" && cfg.CAFile == "" {
		return nil, nil
	}
	info := transport.TLSInfo{CertFile: cfg.CertFile, KeyFile: cfg.KeyFile, TrustedCAFile: cfg.CAFile}
	config, err := info.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("etcd client: TLS: %w", err)
	}
	return config, nil
}
