// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package installation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"
)

const namespace = "fleet"

var start = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func newSecrets(objects ...runtime.Object) (*Secrets, *fake.Clientset) {
	client := fake.NewClientset(objects...)
	return &Secrets{
		Client: client, Namespace: namespace,
		Encryption: "encryption", Etcd: "etcd", EtcdAuthority: "authority",
		EtcdNames: []string{"etcd-0.etcd.fleet.svc", "localhost", "127.0.0.1"},
		Now:       func() time.Time { return start },
	}, client
}

func mustEnsure(t *testing.T, s *Secrets) map[string]map[string][]byte {
	t.Helper()
	if err := s.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	return contents(t, s)
}

// contents are the Secrets' data, by name.
func contents(t *testing.T, s *Secrets) map[string]map[string][]byte {
	t.Helper()
	list, err := s.Client.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]map[string][]byte{}
	for _, secret := range list.Items {
		found[secret.Name] = secret.Data
	}
	return found
}

func TestEncryptionCoversEverythingWithAKeyOfItsOwn(t *testing.T) {
	keys := map[string]bool{}
	for range 2 {
		s, _ := newSecrets()
		var config apiserverv1.EncryptionConfiguration
		if err := yaml.UnmarshalStrict(mustEnsure(t, s)["encryption"]["config.yaml"], &config); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"*.*"}, config.Resources[0].Resources); diff != "" {
			t.Errorf("resources (-want +got):\n%s", diff)
		}
		providers := config.Resources[0].Providers
		if len(providers) != 2 || providers[0].Secretbox == nil || providers[1].Identity == nil {
			t.Fatalf("providers %+v, want secretbox to write with and identity to read what was in clear", providers)
		}
		key, err := base64.StdEncoding.DecodeString(providers[0].Secretbox.Keys[0].Secret)
		if err != nil || len(key) != 32 {
			t.Errorf("a key of %d bytes, %v", len(key), err)
		}
		keys[string(key)] = true
	}
	if len(keys) != 2 {
		t.Error("two installations have one key")
	}
}

// A member and a client prove to each other who they are.
func TestTheCertificateServesBothSides(t *testing.T) {
	s, _ := newSecrets()
	data := mustEnsure(t, s)["etcd"]
	pair, err := tls.X509KeyPair(data["tls.crt"], data["tls.key"])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data["ca.crt"]) {
		t.Fatal("no authority in ca.crt")
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		for _, name := range s.EtcdNames {
			_, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: start.Add(time.Minute), KeyUsages: []x509.ExtKeyUsage{usage}})
			if err == nil {
				err = pair.Leaf.VerifyHostname(name)
			}
			if err != nil {
				t.Errorf("%s, usage %d: %v", name, usage, err)
			}
		}
	}
	if _, there := data["ca.key"]; there {
		t.Error("the authority's key is where every Pod reads it")
	}
}

func TestWhatExistsIsKept(t *testing.T) {
	s, _ := newSecrets()
	first := mustEnsure(t, s)
	s.Now = func() time.Time { return start.AddDate(5, 0, 0) }
	if diff := cmp.Diff(first, mustEnsure(t, s)); diff != "" {
		t.Errorf("changed by a second run (-first +second):\n%s", diff)
	}
}

func TestACertificateIsRenewedByTheSameAuthority(t *testing.T) {
	for name, change := range map[string]func(*Secrets){
		"two thirds of its life are over": func(s *Secrets) { s.Now = func() time.Time { return start.AddDate(7, 0, 0) } },
		"a member's name is missing":      func(s *Secrets) { s.EtcdNames = append(s.EtcdNames, "etcd-1.etcd.fleet.svc") },
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newSecrets()
			first := mustEnsure(t, s)
			change(s)
			second := mustEnsure(t, s)
			if cmp.Equal(first["etcd"]["tls.crt"], second["etcd"]["tls.crt"]) {
				t.Error("the certificate is the old one")
			}
			for _, secret := range []string{"authority", "encryption"} {
				if diff := cmp.Diff(first[secret], second[secret]); diff != "" {
					t.Errorf("%s (-first +second):\n%s", secret, diff)
				}
			}
			if diff := cmp.Diff(first["etcd"]["ca.crt"], second["etcd"]["ca.crt"]); diff != "" {
				t.Errorf("authority (-first +second):\n%s", diff)
			}
		})
	}
}

func TestWhatIsDamagedIsNotReplacedSilently(t *testing.T) {
	for name, test := range map[string]struct {
		damage func(context.Context, *Secrets) error
		want   string
	}{
		"an authority that is lost": {
			func(ctx context.Context, s *Secrets) error {
				return s.Client.CoreV1().Secrets(namespace).Delete(ctx, "authority", metav1.DeleteOptions{})
			}, "it is lost",
		},
		"an authority without its key": {
			func(ctx context.Context, s *Secrets) error { return empty(ctx, s, "authority") }, "no certificate with its key",
		},
		"a configuration that is empty": {
			func(ctx context.Context, s *Secrets) error { return empty(ctx, s, "encryption") }, "put the EncryptionConfiguration back",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newSecrets()
			mustEnsure(t, s)
			if err := test.damage(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			before := contents(t, s)
			if err := s.Ensure(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if diff := cmp.Diff(before, contents(t, s)); diff != "" {
				t.Errorf("changed all the same (-before +after):\n%s", diff)
			}
		})
	}
}

func empty(ctx context.Context, s *Secrets, name string) error {
	secrets := s.Client.CoreV1().Secrets(namespace)
	secret, err := secrets.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	secret.Data = nil
	_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
	return err
}

func TestACertificateThatIsEmptyIsMadeAnew(t *testing.T) {
	s, _ := newSecrets()
	mustEnsure(t, s)
	if err := empty(t.Context(), s, "etcd"); err != nil {
		t.Fatal(err)
	}
	if _, err := parse(mustEnsure(t, s)["etcd"]); err != nil {
		t.Error(err)
	}
}

// Two Jobs run at once: one finds nothing, and is told when it writes that the
// other was faster.
func TestWhoComesSecondKeepsWhatTheFirstHasMade(t *testing.T) {
	s, client := newSecrets()
	rival, _ := newSecrets()
	made := mustEnsure(t, rival)
	client.PrependReactor("create", "secrets", func(action clienttesting.Action) (bool, runtime.Object, error) {
		secret := action.(clienttesting.CreateAction).GetObject().(*corev1.Secret).DeepCopy()
		secret.Data = made[secret.Name]
		return false, nil, client.Tracker().Add(secret)
	})
	if diff := cmp.Diff(made, mustEnsure(t, s)); diff != "" {
		t.Errorf("Secrets (-the first one's +found):\n%s", diff)
	}
}

func TestOnlyWhatWasAskedForIsMade(t *testing.T) {
	s, _ := newSecrets()
	s.Etcd = ""
	if found := mustEnsure(t, s); len(found) != 1 || found["encryption"] == nil {
		t.Errorf("made %d Secrets", len(found))
	}
	s, _ = newSecrets()
	s.Encryption = ""
	if found := mustEnsure(t, s); len(found) != 2 || found["encryption"] != nil {
		t.Errorf("made %d Secrets", len(found))
	}
	s.EtcdNames = nil
	if err := s.Ensure(t.Context()); err == nil || !strings.Contains(err.Error(), "--etcd-names") {
		t.Errorf("got %v", err)
	}
}
