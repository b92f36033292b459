// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package lib

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// Selector matches clusters by their labels. Versions write it as a LabelSelector
// or as a string; conversion between them never fails, so that one bad selector
// cannot fail a list. What a string holds that is no selector is kept in Raw until
// validation refuses it.
type Selector struct {
	metav1.LabelSelector
	// Raw is a string that does not parse as a selector. The LabelSelector is then
	// empty. No stored object has one.
	Raw string
}

// IsEmpty says whether the selector has no requirement. Such a selector matches no
// cluster.
func (s Selector) IsEmpty() bool {
	return s.Raw == "" && len(s.MatchLabels) == 0 && len(s.MatchExpressions) == 0
}

// ParseSelector reads a selector as kubectl get --selector does. It returns the
// canonical form: a label that has to have one value is in MatchLabels, all else
// is in MatchExpressions, which are sorted. A second value for the same label
// goes to MatchExpressions too: the two contradict each other, and the selector
// has to go on matching nothing.
//
// A string that is no selector, or one that a LabelSelector cannot express, comes
// back in Raw; ParseError then says what is wrong with it.
func ParseSelector(s string) Selector {
	if invalid, ok := decodeInvalid(s); ok {
		return Selector{LabelSelector: invalid}
	}
	parsed, err := parseLabelSelector(s)
	if err != nil {
		return Selector{Raw: s}
	}
	return Selector{LabelSelector: parsed}
}

// ParseError says why Raw is not a selector. It is nil if Raw is empty.
func (s Selector) ParseError() error {
	if s.Raw == "" {
		return nil
	}
	_, err := parseLabelSelector(s.Raw)
	return err
}

// String writes the selector so that ParseSelector reads the same meaning from it.
// A selector that is not valid, which only validation and its callers see, is
// written as JSON: no string of that form is a selector, so the error survives.
func (s Selector) String() string {
	if s.Raw != "" {
		return s.Raw
	}
	parsed, err := metav1.LabelSelectorAsSelector(&s.LabelSelector)
	if err != nil {
		return encodeInvalid(s.LabelSelector)
	}
	requirements, _ := parsed.Requirements()
	terms := make([]string, 0, len(requirements))
	for _, requirement := range requirements {
		terms = append(terms, requirement.String())
	}
	sort.Strings(terms)
	return strings.Join(slices.Compact(terms), ",")
}

func parseLabelSelector(s string) (metav1.LabelSelector, error) {
	requirements, err := labels.ParseToRequirements(s)
	if err != nil {
		return metav1.LabelSelector{}, fmt.Errorf("not a label selector: %w", err)
	}
	// The parser's own order is by key alone and not stable.
	sort.Slice(requirements, func(i, j int) bool { return requirements[i].String() < requirements[j].String() })

	var selector metav1.LabelSelector
	for _, requirement := range requirements {
		if err := addRequirement(&selector, requirement); err != nil {
			return metav1.LabelSelector{}, err
		}
	}
	return selector, nil
}

func addRequirement(selector *metav1.LabelSelector, requirement labels.Requirement) error {
	key, values := requirement.Key(), requirement.ValuesUnsorted()
	slices.Sort(values)

	expression := metav1.LabelSelectorRequirement{Key: key, Values: values}
	switch requirement.Operator() {
	case selection.Equals, selection.DoubleEquals:
		if selector.MatchLabels == nil {
			selector.MatchLabels = map[string]string{}
		}
		if first, exists := selector.MatchLabels[key]; !exists || first == values[0] {
			selector.MatchLabels[key] = values[0]
			return nil
		}
		expression.Operator = metav1.LabelSelectorOpIn
	case selection.In:
		expression.Operator = metav1.LabelSelectorOpIn
	case selection.NotIn, selection.NotEquals:
		expression.Operator = metav1.LabelSelectorOpNotIn
	case selection.Exists:
		expression = metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpExists}
	case selection.DoesNotExist:
		expression = metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpDoesNotExist}
	default:
		return fmt.Errorf("operator %q of %q is not supported: use =, !=, in, notin, KEY or !KEY",
			requirement.Operator(), requirement.String())
	}
	for _, present := range selector.MatchExpressions {
		if sameRequirement(present, expression) {
			return nil
		}
	}
	selector.MatchExpressions = append(selector.MatchExpressions, expression)
	return nil
}

func sameRequirement(a, b metav1.LabelSelectorRequirement) bool {
	return a.Key == b.Key && a.Operator == b.Operator && slices.Equal(a.Values, b.Values)
}

// unparsedOperator marks a requirement that holds the Raw of a selector as its key.
// It is not an operator, so that the selector is not valid for anybody else.
const unparsedOperator metav1.LabelSelectorOperator = "Unparsed"

// SelectorFromLabelSelector is the selector for one that is written as a
// LabelSelector.
func SelectorFromLabelSelector(in metav1.LabelSelector) Selector {
	if len(in.MatchLabels) == 0 && len(in.MatchExpressions) == 1 && in.MatchExpressions[0].Operator == unparsedOperator &&
		in.MatchExpressions[0].Key != "" && len(in.MatchExpressions[0].Values) == 0 {
		return Selector{Raw: in.MatchExpressions[0].Key}
	}
	return Selector{LabelSelector: in}
}

// AsLabelSelector writes the selector as a LabelSelector. Raw goes into a
// requirement with an operator that does not exist: a webhook that is called before
// validation, and that asked for another version, does not turn a bad selector into
// an empty one.
func (s Selector) AsLabelSelector() metav1.LabelSelector {
	if s.Raw != "" {
		return metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: s.Raw, Operator: unparsedOperator}}}
	}
	return s.LabelSelector
}

// invalidSelector is the form in which a LabelSelector that is not valid is written
// as a string.
type invalidSelector struct {
	MatchLabels      map[string]string                 `json:"matchLabels,omitempty"`
	MatchExpressions []metav1.LabelSelectorRequirement `json:"matchExpressions,omitempty"`
}

func encodeInvalid(selector metav1.LabelSelector) string {
	encoded, err := json.Marshal(invalidSelector(selector))
	if err != nil {
		// Strings, slices and maps of strings always encode.
		panic(fmt.Sprintf("encoding a label selector: %v", err))
	}
	return string(encoded)
}

// decodeInvalid reads what encodeInvalid has written, and nothing else: a valid
// selector in JSON is not a way to write a selector.
func decodeInvalid(s string) (metav1.LabelSelector, bool) {
	if !strings.HasPrefix(s, "{") {
		return metav1.LabelSelector{}, false
	}
	var decoded invalidSelector
	if err := json.Unmarshal([]byte(s), &decoded); err != nil {
		return metav1.LabelSelector{}, false
	}
	selector := metav1.LabelSelector(decoded)
	if _, err := metav1.LabelSelectorAsSelector(&selector); err == nil || encodeInvalid(selector) != s {
		return metav1.LabelSelector{}, false
	}
	return selector, true
}
