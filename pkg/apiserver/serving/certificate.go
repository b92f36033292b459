// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
	"k8s.io/klog/v2"
)

const (
	// renewalCheck is how often a certificate's age is looked at. A change of
	// the Secret is seen at once, through its watch.
	renewalCheck = time.Hour

	// retryAfter is how long after a failed write the next one is tried.
	retryAfter = 15 * time.Second
)

// Certificate is the serving certificate that all replicas share. It lives in
// a Secret of the host, which it creates, renews and watches.
type Certificate struct {
	client    kubernetes.Interface
	namespace string
	name      string
	issuer    issuer

	mu        sync.RWMutex
	data      map[string][]byte // the Secret's
	listeners []dynamiccertificates.Listener
}

var _ dynamiccertificates.CertKeyContentProvider = &Certificate{}

// NewCertificate loads the Secret namespace/name, creating or renewing it
// where that is due, and returns when there is a certificate to serve. It
// covers names, which are DNS names or IP addresses and at least one.
func NewCertificate(ctx context.Context, client kubernetes.Interface, namespace, name string, names []string) (*Certificate, error) {
	c := &Certificate{
		client:    client,
		namespace: namespace,
		name:      name,
		issuer:    issuer{names: names, now: time.Now},
	}
	if err := c.sync(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Run serves every change of the Secret and renews the certificate in time.
// It returns when ctx is done and its watch has ended.
func (c *Certificate) Run(ctx context.Context) error {
	changed := newSignal()
	informer := coreinformers.NewFilteredSecretInformer(c.client, c.namespace, 0, nil, func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, c.name).String()
	})
	if _, err := informer.AddEventHandler(changed.handler()); err != nil {
		return fmt.Errorf("watch Secret %s/%s: %w", c.namespace, c.name, err)
	}

	var watching sync.WaitGroup
	watching.Go(func() { informer.RunWithContext(ctx) })
	defer watching.Wait()

	next := time.NewTimer(renewalCheck)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-next.C:
		}
		if err := c.sync(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "The serving certificate could not be kept up to date", "secret", klog.KRef(c.namespace, c.name))
			next.Reset(retryAfter)
			continue
		}
		next.Reset(renewalCheck)
	}
}

// sync brings the Secret up to date and serves what is in it.
func (c *Certificate) sync(ctx context.Context) error {
	return retry.OnError(retry.DefaultBackoff, isRace, func() error {
		secrets := c.client.CoreV1().Secrets(c.namespace)
		secret, err := secrets.Get(ctx, c.name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("read the serving certificate from Secret %s/%s: %w", c.namespace, c.name, err)
		}
		exists := err == nil
		current := secret.Data
		if !exists {
			// A Secret that somebody has deleted is made again as it was:
			// clients go on trusting what is served.
			current = c.served()
		}

		data, renewed, err := c.issuer.renew(current)
		if err != nil {
			return err
		}
		switch {
		case !exists:
			secret, err = secrets.Create(ctx, c.newSecret(data), metav1.CreateOptions{})
			if apierrors.IsNotFound(err) {
				return fmt.Errorf("namespace %q does not exist on the host; create it, or name another with --namespace: %w", c.namespace, err)
			}
		case renewed:
			secret.Data = merged(secret.Data, data)
			secret, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
		}
		if err != nil {
			return fmt.Errorf("keep the serving certificate in Secret %s/%s: %w", c.namespace, c.name, err)
		}
		c.serve(secret.Data)
		if renewed {
			klog.FromContext(ctx).Info("Made a new serving certificate", "secret", klog.KObj(secret))
		}
		return nil
	})
}

// isRace reports whether another replica wrote the Secret in between.
func isRace(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
}

func (c *Certificate) newSecret(data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.namespace,
			Name:      c.name,
			Labels:    map[string]string{"app.kubernetes.io/part-of": "muster"},
		},
		Type: corev1.SecretTypeTLS,
		Data: data,
	}
}

func merged(base, overlay map[string][]byte) map[string][]byte {
	out := make(map[string][]byte, len(base)+len(overlay))
	for k, v := range base {
		out[k] = v
	}
	for k, v := range overlay {
		out[k] = v
	}
	return out
}

// serve takes over a Secret's content and tells who serves it.
func (c *Certificate) serve(data map[string][]byte) {
	c.mu.Lock()
	c.data = data
	listeners := c.listeners
	c.mu.Unlock()
	for _, l := range listeners {
		l.Enqueue()
	}
}

func (c *Certificate) served() map[string][]byte {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.data
}

// Name identifies the certificate in logs.
func (c *Certificate) Name() string {
	return "secret:" + c.namespace + "/" + c.name
}

// CurrentCertKeyContent returns the certificate and its key as PEM.
func (c *Certificate) CurrentCertKeyContent() (cert, key []byte) {
	data := c.served()
	return data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey]
}

// Bundle returns, as PEM, the authorities that clients have to trust.
func (c *Certificate) Bundle() []byte {
	return c.served()[caBundleKey]
}

// AddListener registers who is told about a new certificate.
func (c *Certificate) AddListener(listener dynamiccertificates.Listener) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, listener)
}
