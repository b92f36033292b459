// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package gather

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/muster-project/muster/pkg/script"
	"github.com/muster-project/muster/pkg/script/rule"
)

// evaluate keeps the objects that the selector's rules or script want, as Sveltos does:
// one of which any rule is true is kept, and of the others those that the script wants,
// if there is one. Without rules and script all are kept.
func (s *selector) evaluate(ctx context.Context, objects []unstructured.Unstructured, lua Evaluator) ([]unstructured.Unstructured, error) {
	if s.rules.Len() == 0 && s.Evaluate == "" {
		return objects, nil
	}
	kept := make([]bool, len(objects))
	for i := range objects {
		matches, err := s.rules.Any(ctx, rule.Variables{rule.Resource: objects[i].Object, rule.Self: objects[i].Object})
		// A rule that fails because a field is missing is not true. One that was not
		// evaluated to its end says nothing.
		if errors.Is(err, rule.ErrLimit) || ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w", nameOf(&objects[i]), err)
		}
		kept[i] = matches
	}
	if s.Evaluate != "" {
		if err := s.ask(ctx, objects, kept, lua); err != nil {
			return nil, err
		}
	}
	matching := objects[:0:0]
	for i := range objects {
		if kept[i] {
			matching = append(matching, objects[i])
		}
	}
	return matching, nil
}

// ask has the script judge the objects that are not kept yet.
func (s *selector) ask(ctx context.Context, objects []unstructured.Unstructured, kept []bool, lua Evaluator) error {
	batch := script.LuaBatch{Name: "evaluate", Text: s.Evaluate, Argument: "obj"}
	var asked []int
	for i := range objects {
		if !kept[i] {
			batch.Values = append(batch.Values, objects[i].Object)
			asked = append(asked, i)
		}
	}
	answers, err := lua.EvaluateLua(ctx, batch)
	if err != nil {
		return err
	}
	for n, i := range asked {
		matching, _, err := answers[n].Verdict("matching")
		if err != nil {
			return fmt.Errorf("%s: %w", nameOf(&objects[i]), err)
		}
		kept[i] = matching
	}
	return nil
}

// nameOf is an object's kind, namespace and name, for an error.
func nameOf(object *unstructured.Unstructured) string {
	name := object.GetName()
	if namespace := object.GetNamespace(); namespace != "" {
		name = namespace + "/" + name
	}
	return object.GetKind() + " " + name
}
