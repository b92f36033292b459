// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package render

import (
	"context"
	"errors"

	"github.com/muster-project/muster/pkg/script"
)

// Scripts evaluates Lua; *script.Pool does.
type Scripts interface {
	EvaluateLua(ctx context.Context, b script.LuaBatch) ([]script.LuaAnswer, error)
}

const (
	// luaArgument is the global in which a generator finds the objects of the host by
	// their identifiers, luaResult the field of the table that it returns.
	luaArgument = "resources"
	luaResult   = "resources"
)

var (
	errLuaAndTemplate = errors.New("is marked as a template and as a Lua script; it can be one of them")
	errLuaValues      = errors.New("is marked as a Lua script, which makes manifests for policyRefs and nothing else; values, patches and kustomizations are YAML or Go templates")
	errNoScripts      = errors.New("no Lua is evaluated here")
)

func (s Source) is(annotation string) bool {
	_, found := s.Annotations[annotation]
	return found
}

// IsRendered reports whether what the source holds depends on what templates and scripts
// see.
func (s Source) IsRendered() bool { return s.is(AnnotationTemplate) || s.is(AnnotationLua) }

// CheckText is Check for a source that holds something else than manifests.
func (s Source) CheckText() error {
	if err := s.Check(); err != nil {
		return err
	}
	if s.is(AnnotationLua) {
		return errLuaValues
	}
	return nil
}

// generate runs the Lua script of a key, and returns the manifests that it makes.
func (r *Renderer) generate(ctx context.Context, key, text string, data map[string]any) ([]byte, error) {
	if r.Scripts == nil {
		return nil, errNoScripts
	}
	resources, _ := data[script.DataResources].(map[string]any)
	if resources == nil {
		resources = map[string]any{}
	}
	answers, err := r.Scripts.EvaluateLua(ctx, script.LuaBatch{Name: key, Text: text, Argument: luaArgument, Values: []any{resources}})
	if err != nil {
		return nil, err
	}
	answer := answers[0]
	if answer.Err != nil {
		return nil, answer.Err
	}
	if answer.Result[luaResult] == nil {
		return nil, &script.LuaError{Name: key, Message: "evaluate has to return a table with a string " + luaResult + ", the manifests as YAML"}
	}
	made, err := answer.Text(luaResult)
	return []byte(made), err
}

// Discreet returns a renderer whose errors quote nothing: for templates and scripts that
// see Secrets.
func (r *Renderer) Discreet() *Renderer {
	out := &Renderer{Templates: discreet{templates: r.Templates}}
	if r.Scripts != nil {
		out.Scripts = discreet{scripts: r.Scripts}
	}
	return out
}

type discreet struct {
	templates Templates
	scripts   Scripts
}

func (d discreet) RenderTemplate(ctx context.Context, t script.Template) (string, error) {
	out, err := d.templates.RenderTemplate(ctx, t)
	return out, WithoutContent(err)
}

func (d discreet) EvaluateLua(ctx context.Context, b script.LuaBatch) ([]script.LuaAnswer, error) {
	answers, err := d.scripts.EvaluateLua(ctx, b)
	for i := range answers {
		answers[i].Err = WithoutContent(answers[i].Err)
	}
	return answers, WithoutContent(err)
}
