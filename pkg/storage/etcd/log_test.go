// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package etcd

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-logr/logr/funcr"
	"go.uber.org/zap"
)

func TestEtcdLogsThroughTheContextsLogger(t *testing.T) {
	var lines []string
	var stopping atomic.Bool
	logger := funcr.New(func(prefix, args string) { lines = append(lines, prefix+" "+args) }, funcr.Options{})
	zl := NewZapLogger(logger.WithName("etcd"), &stopping).With(zap.String("member", "m1"))

	zl.Info("chatter")
	zl.Debug("more chatter")
	zl.Warn("slow disk", zap.Int("milliseconds", 120))
	zl.Error("cannot write", zap.Error(errors.New("disk is full")))
	zl.Warn("simple token is not cryptographically signed")
	stopping.Store(true)
	zl.Error("listener closed")

	if len(lines) != 2 {
		t.Fatalf("%d lines, want the warning and the error:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for i, wants := range [][]string{
		{"etcd", `"msg"="slow disk"`, `"member"="m1"`, `"milliseconds"=120`, `"level"="warn"`},
		{"etcd", `"msg"="cannot write"`, `"member"="m1"`, `"error"="disk is full"`, `"level"="error"`},
	} {
		for _, want := range wants {
			if !strings.Contains(lines[i], want) {
				t.Errorf("line %q lacks %s", lines[i], want)
			}
		}
	}
}
