// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Breakage catches what etcd would end the process for, a full disk for one: etcd logs it, and takes its
// logger to end the process. With it, the process can say it in one sentence and end in its own way.
type Breakage struct {
	dataDir string
	broken  chan error
}

var _ zapcore.CheckWriteHook = (*Breakage)(nil)

// NewBreakage is for the etcd that runs on a data directory.
func NewBreakage(dataDir string) *Breakage {
	return &Breakage{dataDir: dataDir, broken: make(chan error, 1)}
}

// Options make etcd's logger tell the breakage.
func (b *Breakage) Options() []zap.Option {
	return []zap.Option{zap.WithFatalHook(b), zap.WithPanicHook(b)}
}

// Broken yields the first error that etcd cannot go on with. After it etcd can be neither used nor stopped.
func (b *Breakage) Broken() <-chan error { return b.broken }

// OnWrite is called instead of the end of the process after etcd has logged what it cannot go on
// with. The goroutine that it is called in never runs again, because its code counts on that.
func (b *Breakage) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	encoded := zapcore.NewMapObjectEncoder()
	for _, field := range fields {
		field.AddTo(encoded)
	}
	err := fmt.Errorf("etcd cannot go on with data directory %s: %s", b.dataDir, entry.Message)
	if cause, ok := encoded.Fields["error"]; ok {
		err = fmt.Errorf("%w: %v", err, cause)
	}
	select {
	case b.broken <- err:
	default: // the first is the one that counts
	}
	select {}
}
