// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package hostrights

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/klog/v2"
)

// inFlight is how many questions are asked at once: there are some eighty, and a
// start waits for them.
const inFlight = 16

// MissingError says which rights a server does not have.
type MissingError struct {
	// Rules are the missing ones, each with what does not work without it.
	Rules []string
}

func (e *MissingError) Error() string {
	return "the host cluster does not allow this server what it needs, grant it as the chart does or artifacts/deploy/20-rbac.yaml: it may not " +
		strings.Join(e.Rules, "; it may not ")
}

// question is one thing that a right allows, and the host's answer.
type question struct {
	right   *Right
	asked   authorizationv1.ResourceAttributes
	refused bool
}

// Check asks the host whether the caller itself has every right of a server that
// is installed in the namespace own and reads the namespaces sources; none means
// all. Its error is a *MissingError where it has not. A host that does not even
// let the caller ask is not held against it: that is only logged.
func Check(ctx context.Context, client authorizationclient.SelfSubjectAccessReviewsGetter, own string, sources []string) error {
	var questions []question
	for _, right := range All() {
		for _, asked := range right.Questions(own, sources) {
			questions = append(questions, question{right: &right, asked: asked})
		}
	}
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	for i := range questions {
		group.Go(func() error { return questions[i].ask(asking, client) })
	}
	err := group.Wait()
	if apierrors.IsForbidden(err) {
		klog.FromContext(ctx).Info("The host does not tell this server what it may do", "reason", err.Error())
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask the host cluster what this server may do there: %w", err)
	}
	if rules := missing(questions); len(rules) > 0 {
		return &MissingError{Rules: rules}
	}
	return nil
}

func (q *question) ask(ctx context.Context, client authorizationclient.SelfSubjectAccessReviewsGetter) error {
	review, err := client.SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &q.asked},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	q.refused = !review.Status.Allowed
	return nil
}

// missing describes what was refused, a sentence's part for each right.
func missing(questions []question) []string {
	var rules []string
	for len(questions) > 0 {
		right := questions[0].right
		var parts []string
		for len(questions) > 0 && questions[0].right == right {
			about := questions[0].asked
			var verbs []string
			// What differs by its verb alone is one part.
			for len(questions) > 0 && questions[0].right == right && sameObject(questions[0].asked, about) {
				if questions[0].refused {
					verbs = append(verbs, questions[0].asked.Verb)
				}
				questions = questions[1:]
			}
			if about.Verb = strings.Join(verbs, "/"); about.Verb != "" {
				parts = append(parts, Describe(about))
			}
		}
		if len(parts) > 0 {
			rules = append(rules, fmt.Sprintf("%s (without it %s)", strings.Join(parts, ", "), right.Without))
		}
	}
	return rules
}

func sameObject(a, b authorizationv1.ResourceAttributes) bool {
	a.Verb, b.Verb = "", ""
	return a == b
}
