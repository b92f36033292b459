// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package installation

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"
	"sigs.k8s.io/yaml"
)

const (
	// encryptionKey is the Secret's key with the EncryptionConfiguration.
	encryptionKey = "config.yaml"
	// authorityKey is the Secret's key with the certificate of the authority, by
	// which both sides of a connection to etcd are verified.
	authorityKey = "ca.crt"
	// keyBytes is the size of a key for XSalsa20 and Poly1305 (secretbox).
	keyBytes = 32
)

// Secrets makes the Secrets of an installation. Names that are empty stand for
// Secrets that somebody else looks after.
type Secrets struct {
	Client    kubernetes.Interface
	Namespace string
	// Encryption is the Secret with the EncryptionConfiguration.
	Encryption string
	// Etcd is the Secret with the certificate that etcd's members and clients
	// show, EtcdAuthority the one with the authority that signs it: apart,
	// because no Pod needs the authority's key.
	Etcd, EtcdAuthority string
	// EtcdNames are the DNS names and IP addresses of members.
	EtcdNames []string
	// Now is the clock by which certificates are made and renewed.
	Now func() time.Time
}

// Ensure makes what is missing. It may run at any time, and in several Pods at
// once: who comes second keeps what the first has made. A key of encryption that
// exists is never written.
func (s *Secrets) Ensure(ctx context.Context) error {
	if s.Etcd != "" && (s.EtcdAuthority == "" || len(s.EtcdNames) == 0) {
		return errors.New("--etcd-secret needs --etcd-authority-secret and --etcd-names")
	}
	if s.Encryption != "" {
		if err := s.ensure(ctx, s.Encryption, corev1.SecretTypeOpaque, newEncryption, keepEncryption); err != nil {
			return err
		}
	}
	if s.Etcd == "" {
		return nil
	}
	return s.ensureEtcd(ctx)
}

// ensure makes a Secret of what fresh returns, or hands what is in it to update,
// which returns what should be in it instead, or nil.
func (s *Secrets) ensure(ctx context.Context, name string, kind corev1.SecretType,
	fresh func() (map[string][]byte, error), update func(map[string][]byte) (map[string][]byte, error),
) error {
	secrets := s.Client.CoreV1().Secrets(s.Namespace)
	// Another Pod may write in between; what it wrote is looked at again.
	return retry.OnError(retry.DefaultBackoff, isRace, func() error {
		secret, err := secrets.Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			data, err := fresh()
			if err != nil {
				return fmt.Errorf("make Secret %s/%s: %w", s.Namespace, name, err)
			}
			if _, err := secrets.Create(ctx, s.secret(name, kind, data), metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("create Secret %s/%s: %w", s.Namespace, name, err)
			}
			klog.FromContext(ctx).Info("Made a Secret", "secret", klog.KRef(s.Namespace, name))
			return nil
		case err != nil:
			return fmt.Errorf("read Secret %s/%s: %w", s.Namespace, name, err)
		}
		data, err := update(secret.Data)
		if err != nil {
			return fmt.Errorf("secret %s/%s: %w", s.Namespace, name, err)
		}
		if data == nil {
			return nil
		}
		if secret.Data == nil {
			secret.Data = map[string][]byte{}
		}
		maps.Copy(secret.Data, data)
		if _, err := secrets.Update(ctx, secret, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("update Secret %s/%s: %w", s.Namespace, name, err)
		}
		klog.FromContext(ctx).Info("Renewed a Secret", "secret", klog.KRef(s.Namespace, name))
		return nil
	})
}

func isRace(err error) bool {
	return apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err)
}

func (s *Secrets) secret(name string, kind corev1.SecretType, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.Namespace,
			Name:      name,
			Labels:    map[string]string{"app.kubernetes.io/part-of": "muster"},
		},
		Type: kind,
		Data: data,
	}
}

// newEncryption is an EncryptionConfiguration that covers every object and
// record. What was stored before, in clear, can still be read.
func newEncryption() (map[string][]byte, error) {
	key := make([]byte, keyBytes)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("draw a key: %w", err)
	}
	config := apiserverv1.EncryptionConfiguration{
		TypeMeta: metav1.TypeMeta{APIVersion: apiserverv1.SchemeGroupVersion.String(), Kind: "EncryptionConfiguration"},
		Resources: []apiserverv1.ResourceConfiguration{{
			Resources: []string{"*.*"},
			Providers: []apiserverv1.ProviderConfiguration{
				{Secretbox: &apiserverv1.SecretboxConfiguration{Keys: []apiserverv1.Key{
					{Name: "key1", Secret: base64.StdEncoding.EncodeToString(key)},
				}}},
				{Identity: &apiserverv1.IdentityConfiguration{}},
			},
		}},
	}
	data, err := yaml.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("encode the configuration: %w", err)
	}
	return map[string][]byte{encryptionKey: data}, nil
}

func keepEncryption(data map[string][]byte) (map[string][]byte, error) {
	if len(data[encryptionKey]) == 0 {
		return nil, fmt.Errorf("it has no %s: put the EncryptionConfiguration back, or delete the Secret if nothing was ever stored with its key", encryptionKey)
	}
	return nil, nil
}
