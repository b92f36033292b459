// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
)

// serverVariable makes the test binary a server of API endpoints, so that the
// memory of both ends of a connection is not counted as one.
const serverVariable = "FLEET_TEST_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(serverVariable) != "" {
		if err := serveAPI(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serveAPI prints its address and its certificate authority's length and PEM,
// and serves until its input ends.
func serveAPI(in io.Reader, out io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ca := theAuthority().caPEM
	if _, err := fmt.Fprintf(out, "%s %d\n%s", listener.Addr(), len(ca), ca); err != nil {
		return err
	}
	server := &http.Server{Handler: readyHandler{}, TLSConfig: newServerTLS(), ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	_, err = io.Copy(io.Discard, in)
	_ = server.Close()
	return err
}

type readyHandler struct{}

func (readyHandler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch req.URL.Path {
	case "/readyz":
		_, _ = io.WriteString(w, "ok")
	case "/version":
		_, _ = io.WriteString(w, `{"gitVersion":"v1.37.0"}`)
	default:
		_, _ = io.WriteString(w, `{"metadata":{"uid":"uid-1"}}`)
	}
}

// BenchmarkProbedCluster measures what a probed cluster with a live connection
// costs in resident memory, collected and not: the slope over a thousand.
func BenchmarkProbedCluster(b *testing.B) {
	server := exec.Command(os.Args[0])
	server.Env = append(os.Environ(), serverVariable+"=1")
	stdin, err := server.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = stdin.Close(); _ = server.Wait() }()
	var (
		address string
		length  int
		reader  = bufio.NewReader(stdout)
	)
	if _, err := fmt.Fscanf(reader, "%s %d\n", &address, &length); err != nil {
		b.Fatal(err)
	}
	ca := make([]byte, length)
	if _, err := io.ReadFull(reader, ca); err != nil {
		b.Fatal(err)
	}
	data := kubeconfig("https://"+address, ca)
	for b.Loop() {
		b.ReportMetric(perCluster(b, data), "RSS-KB/cluster")
	}
}

// perCluster probes a thousand clusters for a while and returns the KB of each.
func perCluster(b *testing.B, data []byte) float64 {
	const clusters = 1000
	var ready atomic.Int32
	// The kubeconfigs themselves are the host's and not held.
	c := NewClusters(Options{Credentials: sameKubeconfig(data)})
	p := NewProber(c, func(_ Ref, _ types.UID, health Health) {
		if health.Ready {
			ready.Add(1)
		}
	}, ProberOptions{})
	ctx, cancel := context.WithCancel(klog.NewContext(b.Context(), logr.Discard()))
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}()
	p.Set(Target{Ref: ref("warm-up")})
	for ready.Load() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	before := residentKB(b)
	for i := range clusters {
		p.Set(Target{Ref: numbered(i)})
	}
	deadline := time.Now().Add(5 * time.Minute)
	for ready.Load() <= clusters && time.Now().Before(deadline) {
		time.Sleep(100 * time.Millisecond)
	}
	time.Sleep(15 * time.Second) // three rounds of probes
	after := residentKB(b)
	for i := range clusters {
		c.Forget(numbered(i))
	}
	if got := ready.Load(); got <= clusters {
		b.Fatalf("%d of %d clusters became ready", got, clusters)
	}
	return float64(after-before) / clusters
}

type sameKubeconfig []byte

func (s sameKubeconfig) Kubeconfig(context.Context, Ref) ([]byte, string, error) { return s, "1", nil }

func residentKB(b *testing.B) int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kb int
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
			return kb
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
