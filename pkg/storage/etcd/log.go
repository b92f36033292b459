// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
)

// chatter is the verbosity for what etcd calls a warning or an error and is neither here.
const chatter = 4

// harmless are etcd's complaints that mean nothing here.
func harmless(message string) bool {
	switch message {
	case
		// Settings that do not matter on a private socket.
		"Running http and grpc server on single port. This is not recommended for production.",
		"simple token is not cryptographically signed",
		// A new data directory is not committed to disk yet. etcd tries again.
		"Failed to detect schema version",
		"failed to update storage version",
		// The client returns the error too, and its caller knows what it means.
		"retrying of unary invoker failed":
		return true
	}
	return false
}

// NewZapLogger returns a logger for etcd's code that writes warnings and errors through logger, as
// long as stopping is not set: etcd reports every listener that Close closes as a failure. options are for
// what else etcd makes of a logger: it ends the process through it.
func NewZapLogger(logger klog.Logger, stopping *atomic.Bool, options ...zap.Option) *zap.Logger {
	return zap.New(&logCore{logger: logger, LevelEnabler: zapcore.WarnLevel, stopping: stopping}, options...)
}

// logCore is a zapcore.Core on a contextual logger.
type logCore struct {
	zapcore.LevelEnabler
	logger   klog.Logger
	stopping *atomic.Bool
}

func (c *logCore) With(fields []zapcore.Field) zapcore.Core {
	with := *c
	with.logger = c.logger.WithValues(keysAndValues(fields)...)
	return &with
}

func (c *logCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

func (c *logCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	values := append(keysAndValues(fields), "level", entry.Level.String())
	switch {
	case c.stopping.Load() || harmless(entry.Message):
		c.logger.V(chatter).Info(entry.Message, values...)
	case entry.Level >= zapcore.ErrorLevel:
		c.logger.Error(nil, entry.Message, values...)
	default:
		c.logger.Info(entry.Message, values...)
	}
	return nil
}

func (*logCore) Sync() error { return nil }

func keysAndValues(fields []zapcore.Field) []any {
	values := make([]any, 0, 2*len(fields)+2)
	for _, field := range fields {
		encoded := zapcore.NewMapObjectEncoder()
		field.AddTo(encoded)
		for key, value := range encoded.Fields {
			values = append(values, key, value)
		}
	}
	return values
}
