// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package fence has a managed cluster refuse the writes of Muster's former
// leaders.
//
// A ValidatingAdmissionPolicy there holds the epoch of the latest leader, and
// each write of a leader says which epoch it belongs to. Of all that a request
// carries, admission sees one thing that a client can set for creates, updates,
// patches, deletes and connections alike: the extra fields of its user. (It sees
// no headers, a field manager is in no delete, and no library has to know.) So a
// leader impersonates itself, the same user with the same groups, with its epoch
// as an extra field. Requests without that field, which are everybody else's,
// are let through untouched.
//
// The epoch is written into the policy itself and not into a parameter of it: an
// API server that has not read the parameters yet, or does not find them, denies
// the requests of everybody whom a policy is for, before it looks whether it
// concerns them.
//
// Policies reach API servers by a watch, and each uses what it has. So a fence is
// raised when a request with the epoch before was seen to be denied; the API
// servers behind one address may follow one after another, within seconds.
package fence

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	admissionclient "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

const (
	// Name is the policy's and its binding's.
	Name = "muster-fence"
	// ExtraKey is the extra field of a user that holds an epoch, a decimal number.
	ExtraKey = "muster.projectsveltos.io/epoch"

	// proofTime is how long an API server may take to obey the policy: it looks for
	// changed ones once a second.
	proofTime   = 5 * time.Second
	proofPeriod = 100 * time.Millisecond
	// attempts bound the races that are run for one object: each is lost to somebody
	// who has written it.
	attempts = 10
	// proofNamespace exists in every cluster. Nothing is put there.
	proofNamespace = metav1.NamespaceDefault
)

var (
	// ErrLater says that the cluster has been fenced by a later leader.
	ErrLater = errors.New("the fence is a later leader's")
	// ErrForeign says that the policy is not this installation's.
	ErrForeign = errors.New("the fence is not this installation's")
	// ErrNotServed says that the cluster has no admission policies.
	ErrNotServed = errors.New("the cluster serves no ValidatingAdmissionPolicy of admissionregistration.k8s.io/v1: " +
		"a fence needs Kubernetes 1.30 or newer")
	// ErrNotObeyed says that the policy is there and former leaders are not denied.
	ErrNotObeyed = errors.New("the cluster does not deny the writes of former leaders although policy " + Name + " tells it to: " +
		"is its admission plugin ValidatingAdmissionPolicy switched off?")
)

// Mark is whom a fence is for: leaders of this installation from this epoch on.
type Mark struct {
	Installation string
	Epoch        int64
}

// Fence is one leader's, around one cluster.
type Fence struct {
	// Host is the API server's URL.
	Host string
	// Plain sends requests as the user that the credentials are for, Stamped as that
	// user with an epoch.
	Plain   http.RoundTripper
	Stamped func(user User, epoch int64) http.RoundTripper
	Mark    Mark
}

// Raise makes the cluster deny the writes of all leaders before this one, and
// returns who this one has to be from now on. It is repeatable, and writes
// nothing where the fence stands. A fence is only ever raised: the error is
// ErrLater if it is another leader's with a higher epoch.
func (f *Fence) Raise(ctx context.Context) (User, error) {
	user, err := f.whoAmI(ctx)
	if err != nil {
		return User{}, err
	}
	client, err := f.admission()
	if err != nil {
		return User{}, err
	}
	// The binding first: with the policy the fence stands.
	if err := raise(ctx, client.ValidatingAdmissionPolicyBindings(), f.Mark, newBinding(f.Mark), sameBinding); err != nil {
		return User{}, fmt.Errorf("raise ValidatingAdmissionPolicyBinding %s: %w", Name, err)
	}
	if err := raise(ctx, client.ValidatingAdmissionPolicies(), f.Mark, newPolicy(f.Mark), samePolicy); err != nil {
		return User{}, fmt.Errorf("raise ValidatingAdmissionPolicy %s: %w", Name, err)
	}
	return user, f.prove(ctx, user)
}

// Remove takes this installation's fence away. What is another's stays, and is no
// error; a later leader's stays with ErrLater. A user who may not even read
// policies has put none there.
func (f *Fence) Remove(ctx context.Context) error {
	client, err := f.admission()
	if err != nil {
		return err
	}
	if err := remove(ctx, client.ValidatingAdmissionPolicies(), f.Mark); err != nil {
		return fmt.Errorf("delete ValidatingAdmissionPolicy %s: %w", Name, err)
	}
	if err := remove(ctx, client.ValidatingAdmissionPolicyBindings(), f.Mark); err != nil {
		return fmt.Errorf("delete ValidatingAdmissionPolicyBinding %s: %w", Name, err)
	}
	return nil
}

func config(host string, transport http.RoundTripper) (*rest.Config, *http.Client) {
	content := rest.ContentConfig{ContentType: runtime.ContentTypeJSON, AcceptContentTypes: runtime.ContentTypeJSON}
	return &rest.Config{Host: host, ContentConfig: content, Transport: transport, QPS: -1, WarningHandler: rest.NoWarnings{}},
		&http.Client{Transport: transport}
}

func (f *Fence) admission() (*admissionclient.AdmissionregistrationV1Client, error) {
	client, err := admissionclient.NewForConfigAndClient(config(f.Host, f.Plain))
	if err != nil {
		return nil, fmt.Errorf("make a client of admission policies: %w", err)
	}
	return client, nil
}

// whoAmI asks the cluster whom the credentials are for.
func (f *Fence) whoAmI(ctx context.Context) (User, error) {
	client, err := authenticationclient.NewForConfigAndClient(config(f.Host, f.Plain))
	if err != nil {
		return User{}, fmt.Errorf("make a client of reviews: %w", err)
	}
	review, err := client.SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if apierrors.IsNotFound(err) {
		return User{}, ErrNotServed
	}
	if err != nil {
		return User{}, fmt.Errorf("ask the cluster who the kubeconfig's user is: %w", err)
	}
	return newUser(review.Status.UserInfo), nil
}

// prove waits until a write of the leader before is denied. It would change
// nothing if it were not.
func (f *Fence) prove(ctx context.Context, user User) error {
	client, err := coreclient.NewForConfigAndClient(config(f.Host, f.Stamped(user, f.Mark.Epoch-1)))
	if err != nil {
		return fmt.Errorf("make a client for the proof: %w", err)
	}
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: Name + "-proof-"}}
	deadline := time.Now().Add(proofTime)
	for {
		_, err := client.ConfigMaps(proofNamespace).Create(ctx, object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		switch {
		case isDenial(err):
			return nil
		case err != nil && apierrors.ReasonForError(err) == metav1.StatusReasonUnknown:
			return fmt.Errorf("try whether former leaders are denied: %w", err)
		case time.Now().After(deadline) && err != nil:
			// A missing right, or another policy, which is asked until ours is there.
			return fmt.Errorf("try whether former leaders are denied, by a dry run in namespace %s: %w", proofNamespace, err)
		case time.Now().After(deadline):
			return ErrNotObeyed
		}
		select {
		case <-time.After(proofPeriod):
		case <-ctx.Done():
			return fmt.Errorf("wait for former leaders to be denied: %w", context.Cause(ctx))
		}
	}
}

// isDenial says whether a fence denied a request.
func isDenial(err error) bool {
	return err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy '"+Name+"'")
}

// object is a policy or a binding.
type object interface {
	comparable
	metav1.Object
}

// objects is a typed client of policies or of bindings.
type objects[T object] interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (T, error)
	Create(ctx context.Context, object T, opts metav1.CreateOptions) (T, error)
	Update(ctx context.Context, object T, opts metav1.UpdateOptions) (T, error)
	Delete(ctx context.Context, name string, opts metav1.DeleteOptions) error
}

// raise brings an object to what is wanted, by compare-and-swap, unless it is
// another's or a later leader's. Both objects carry the epoch, so that each term
// gives them a new resourceVersion: a removal that a former leader had decided
// on meets it.
func raise[T object](ctx context.Context, client objects[T], mark Mark, want T, same func(have, want T) bool) error {
	var err error
	for range attempts {
		var have T
		have, err = client.Get(ctx, Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			want.SetResourceVersion("")
			_, err = client.Create(ctx, want, metav1.CreateOptions{})
			if apierrors.IsNotFound(err) {
				return ErrNotServed // nothing that is created can be missing
			}
		case err != nil:
			return err
		default:
			if err := mark.mayReplace(have); err != nil {
				return err
			}
			if same(have, want) {
				return nil
			}
			want.SetResourceVersion(have.GetResourceVersion())
			_, err = client.Update(ctx, want, metav1.UpdateOptions{})
		}
		if !apierrors.IsAlreadyExists(err) && !apierrors.IsConflict(err) {
			return err
		}
	}
	return err
}

func remove[T object](ctx context.Context, client objects[T], mark Mark) error {
	have, err := client.Get(ctx, Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := mark.mayReplace(have); errors.Is(err, ErrForeign) {
		return nil
	} else if err != nil {
		return err
	}
	uid, version := have.GetUID(), have.GetResourceVersion()
	err = client.Delete(ctx, Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// mayReplace is nil if what is there is of this installation, and of no later
// leader.
func (m Mark) mayReplace(have metav1.Object) error {
	annotations := have.GetAnnotations()
	if annotations[installationAnnotation] != m.Installation {
		return fmt.Errorf("%w: if Muster was installed anew and no other installation manages this cluster, "+
			"delete ValidatingAdmissionPolicy and ValidatingAdmissionPolicyBinding %s there", ErrForeign, Name)
	}
	// One that cannot be read was edited by hand, and is put right.
	if epoch, err := strconv.ParseInt(annotations[ExtraKey], 10, 64); err == nil && epoch > m.Epoch {
		return fmt.Errorf("%w: it has epoch %d and this one %d. If Muster's storage was restored without `muster restore`, "+
			"delete ValidatingAdmissionPolicy and ValidatingAdmissionPolicyBinding %s there", ErrLater, epoch, m.Epoch, Name)
	}
	return nil
}
