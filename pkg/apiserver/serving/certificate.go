// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/pkg/server/healthz"
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

// RotateAnnotation on the Secret makes a new authority without waiting for the
// end of the old one. Its value is how long the new one is only published before
// it signs, a duration as in "1m", and how long the old one is trusted after that,
// though for no less than 20 s. A day where it is no duration.
const RotateAnnotation = "muster.projectsveltos.io/rotate-authority"

// Certificate is the serving certificate that all replicas share. It lives in
// a Secret of the host, which it creates, renews and watches.
//
// A replica goes on serving what it serves until the aggregator trusts what the
// Secret holds: a certificate can be made in an instant, and be trusted only
// when the caBundle of every APIService has followed.
type Certificate struct {
	client    kubernetes.Interface
	namespace string
	name      string
	issuer    issuer
	// reconsider is raised when more, or less, is published.
	reconsider signal

	mu          sync.RWMutex
	data        map[string][]byte // the Secret's
	serving     map[string][]byte // what is served: the Secret's of now, or before
	publication publication
	listeners   []dynamiccertificates.Listener
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

		reconsider: newSignal(),
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

	next := time.NewTimer(c.pause())
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-next.C:
		case <-c.reconsider:
			c.choose()
			next.Reset(c.pause())
			continue
		}
		if err := c.sync(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "The serving certificate could not be kept up to date", "secret", klog.KRef(c.namespace, c.name))
			next.Reset(retryAfter)
			continue
		}
		next.Reset(c.pause())
	}
}

// pause is how long nothing needs to be looked at that makes no event.
func (c *Certificate) pause() time.Duration {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !samePair(c.data, c.serving) {
		return propagation / 10
	}
	return c.issuer.nextChange(c.data, renewalCheck)
}

// sync brings the Secret up to date and takes over what is in it.
func (c *Certificate) sync(ctx context.Context) error {
	return retry.OnError(retry.DefaultBackoff, isRace, func() error {
		secrets := c.client.CoreV1().Secrets(c.namespace)
		secret, err := secrets.Get(ctx, c.name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("read the serving certificate from Secret %s/%s: %w", c.namespace, c.name, err)
		}
		exists := err == nil
		if !exists {
			secret = c.newSecret(nil)
		}
		data, err := c.wanted(ctx, secret)
		if err != nil {
			return err
		}
		_, rotates := secret.Annotations[RotateAnnotation]
		changed := rotates || !holds(secret.Data, data)
		secret = secret.DeepCopy()
		secret.Data = merged(secret.Data, data)
		delete(secret.Annotations, RotateAnnotation)
		switch {
		case !exists:
			secret, err = secrets.Create(ctx, secret, metav1.CreateOptions{})
			if apierrors.IsNotFound(err) {
				return fmt.Errorf("namespace %q does not exist on the host; create it, or name another with --namespace: %w", c.namespace, err)
			}
		case changed:
			secret, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
		}
		if err != nil {
			return fmt.Errorf("keep the serving certificate in Secret %s/%s: %w", c.namespace, c.name, err)
		}
		c.take(secret.Data)
		if changed {
			klog.FromContext(ctx).Info("Wrote the serving certificate's Secret", "secret", klog.KObj(secret))
		}
		return nil
	})
}

// wanted is what a Secret should hold. One that somebody has deleted or damaged
// is made again as it was: clients go on trusting what is served.
func (c *Certificate) wanted(ctx context.Context, secret *corev1.Secret) (map[string][]byte, error) {
	current := secret.Data
	if last := c.known(); !c.issuer.intact(current) && c.issuer.intact(last) {
		current = last
	}
	if asked, ok := secret.Annotations[RotateAnnotation]; ok {
		after, err := time.ParseDuration(asked)
		if err != nil {
			klog.FromContext(ctx).Error(err, "The annotation that asks for a new authority has no duration", "annotation", RotateAnnotation, "after", settling)
			after = settling
		}
		if current, err = c.issuer.rotate(current, max(after, 0)); err != nil {
			return nil, err
		}
	}
	data, _, err := c.issuer.renew(current)
	return data, err
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

// take takes over a Secret's content.
func (c *Certificate) take(data map[string][]byte) {
	c.mu.Lock()
	bundleChanged := !bytes.Equal(c.data[caBundleKey], data[caBundleKey])
	c.data = data
	c.mu.Unlock()
	if !c.choose() && bundleChanged {
		c.notify()
	}
}

// choose serves what the Secret holds, as soon as that is trusted or what is
// served is not. It reports whether that is something new, which it has told.
func (c *Certificate) choose() bool {
	c.mu.Lock()
	now := c.issuer.now()
	serving, held := leaf(c.serving), leaf(c.data)
	switch {
	case samePair(c.serving, c.data):
		c.mu.Unlock()
		return false
	case serving == nil, !now.Before(serving.NotAfter), c.publication.covers(held, now, propagation):
	case !c.publication.covers(serving, now, 0) && c.publication.covers(held, now, 0):
	default:
		c.mu.Unlock()
		return false
	}
	c.serving = c.data
	c.mu.Unlock()
	c.notify()
	return true
}

func (c *Certificate) notify() {
	c.mu.RLock()
	listeners := c.listeners
	c.mu.RUnlock()
	for _, l := range listeners {
		l.Enqueue()
	}
}

// Published tells what the APIServices trust: the caBundle of each of ours, none
// where there is none.
func (c *Certificate) Published(bundles [][]byte) {
	c.mu.Lock()
	c.publication.update(bundles, c.issuer.now())
	c.mu.Unlock()
	c.reconsider.Enqueue()
}

// ReadyCheck keeps traffic away from a replica whose certificate the aggregator
// does not trust yet.
func (c *Certificate) ReadyCheck() healthz.HealthChecker {
	return healthz.NamedCheck("serving-certificate", func(*http.Request) error {
		c.mu.RLock()
		defer c.mu.RUnlock()
		if c.publication.covers(leaf(c.serving), c.issuer.now(), readyAfter) {
			return nil
		}
		return errors.New("the caBundle of the APIServices does not cover the serving certificate yet")
	})
}

// known is the last content of the Secret.
func (c *Certificate) known() map[string][]byte {
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
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.serving[corev1.TLSCertKey], c.serving[corev1.TLSPrivateKeyKey]
}

// publish returns what to publish where published stands now, and after how long,
// at most longest, that is something else though nothing has changed.
func (c *Certificate) publish(published []byte, longest time.Duration) (bundle []byte, changes time.Duration) {
	now, data := c.issuer.now(), c.known()
	keep := retention(overlap(data))
	if newest := firstCertificate(parseCertificates(data[caBundleKey])); newest != nil {
		if until := newest.NotBefore.Add(backdating + keep).Sub(now); until > 0 {
			longest = min(until, longest)
		}
	}
	return union(data[caBundleKey], published, keep, now), longest
}

// AddListener registers who is told about a new certificate.
func (c *Certificate) AddListener(listener dynamiccertificates.Listener) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, listener)
}
