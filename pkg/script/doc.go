// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

// Package script evaluates what users wrote, in processes that can be killed.
//
// Two languages run in them: Go templates (Pool.RenderTemplate) and Lua
// (Pool.EvaluateLua). CEL, which has a cost limit, is evaluated in process by package
// rule. Other packages bring programs of their own along, which run in the workers as well
// (Pool.Work).
//
// A Go template cannot be interrupted: text/template takes no context, and
// {{range 2000000000}}{{end}} runs for as long as it likes. A function of it can ask for
// any amount of memory, and a Go process that gets none dies as a whole. Lua is no
// better: a pattern of 28 characters runs for minutes inside one call. So every
// evaluation happens in a worker process with a limit on its memory, an empty
// environment and one request at a time, and the parent kills it when it has had its
// time. What a bomb costs is one worker for one second.
//
// A Pool owns the workers; ServeWorker is the body of a worker.
package script
