// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package gather reads the objects of a managed cluster that resource selectors select,
// for checks and scripts to judge: bounded in number and size, and without what no script
// should see.
package gather

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
	"github.com/muster-project/muster/pkg/fleet"
	"github.com/muster-project/muster/pkg/script"
	"github.com/muster-project/muster/pkg/script/rule"
)

// Limits of everything that one List reads.
const (
	// MaxObjects is how many objects may be selected, before scripts and rules have
	// their say.
	MaxObjects = 1000
	// MaxBytes is how much may be read of the cluster's answers, in bytes.
	MaxBytes = 4 << 20
	// pageSize is how many objects are read at once.
	pageSize = 250
)

// ErrTooMuch means that more is selected than MaxObjects or MaxBytes.
var ErrTooMuch = errors.New("too much is selected")

// Evaluator evaluates Lua; *script.Pool does.
type Evaluator interface {
	EvaluateLua(ctx context.Context, b script.LuaBatch) ([]script.LuaAnswer, error)
}

// Selectors select objects of one cluster. They are safe for concurrent use.
type Selectors struct {
	selectors []selector
	kinds     kinds
}

type selector struct {
	libv1beta1.ResourceSelector
	labels labels.Selector
	rules  *rule.Set
}

// Compile prepares selectors. The error says which of them cannot be used, and why.
func Compile(specs []libv1beta1.ResourceSelector) (*Selectors, error) {
	s := &Selectors{}
	for i := range specs {
		one, err := compile(&specs[i])
		if err != nil {
			return nil, fmt.Errorf("resourceSelectors[%d]: %w", i, err)
		}
		s.selectors = append(s.selectors, *one)
	}
	return s, nil
}

func compile(spec *libv1beta1.ResourceSelector) (*selector, error) {
	byLabels, err := labelSelector(spec)
	if err != nil {
		return nil, err
	}
	var rules []rule.Rule
	for _, r := range spec.EvaluateCEL {
		rules = append(rules, rule.Rule{Name: r.Name, Expression: r.Rule})
	}
	compiled, err := rule.Compile(rules...)
	if err != nil {
		return nil, err
	}
	return &selector{*spec, byLabels, compiled}, nil
}

// operatorOf is what an operation of a label filter is called in label selectors.
func operatorOf(operation libv1beta1.LabelOperation) selection.Operator {
	switch operation {
	case libv1beta1.LabelOperationEqual:
		return selection.Equals
	case libv1beta1.LabelOperationDifferent:
		return selection.NotEquals
	case libv1beta1.LabelOperationHas:
		return selection.Exists
	default:
		return selection.DoesNotExist
	}
}

// labelSelector is what labelFilters and selector ask for together.
func labelSelector(spec *libv1beta1.ResourceSelector) (labels.Selector, error) {
	all, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{})
	if spec.Selector != nil {
		all, err = metav1.LabelSelectorAsSelector(spec.Selector)
	}
	if err != nil {
		return nil, fmt.Errorf("selector: %w", err)
	}
	for _, filter := range spec.LabelFilters {
		operator, values := operatorOf(filter.Operation), []string(nil)
		if operator == selection.Equals || operator == selection.NotEquals {
			values = []string{filter.Value}
		}
		requirement, err := labels.NewRequirement(filter.Key, operator, values)
		if err != nil {
			return nil, fmt.Errorf("labelFilters: %w", err)
		}
		all = all.Add(*requirement)
	}
	return all, nil
}

// List returns the contents of the selected objects, in the order of the selectors, those
// of one by namespace and name. A kind that the cluster does not have has no objects. Of
// Secrets only the keys of the data are there, and of no object the managed fields.
//
// The error is ErrTooMuch, one of Kubernetes' API or of the connection, or, with the
// object's name around it, one of the evaluator's.
func (s *Selectors) List(ctx context.Context, client *fleet.Client, lua Evaluator) ([]any, error) {
	reader, err := newReader(client)
	if err != nil {
		return nil, err
	}
	all := []any{}
	for i := range s.selectors {
		one := &s.selectors[i]
		objects, err := s.list(ctx, reader, one)
		if err != nil {
			return nil, err
		}
		if objects, err = one.evaluate(ctx, objects, lua); err != nil {
			return nil, err
		}
		for _, object := range objects {
			all = append(all, object.Object)
		}
	}
	return all, nil
}

func (s *Selectors) list(ctx context.Context, reader *reader, one *selector) ([]unstructured.Unstructured, error) {
	kind := schema.GroupVersionKind{Group: one.Group, Version: one.Version, Kind: one.Kind}
	resource, err := s.kinds.resolve(ctx, reader, kind)
	if err != nil || resource == nil {
		return nil, err
	}
	objects, err := reader.list(ctx, resource, one)
	if isNotFound(err) {
		// Its CustomResourceDefinition went meanwhile.
		s.kinds.forget(kind)
		return nil, nil
	}
	return objects, err
}
