// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import "time"

// pauseUntil sleeps until a moment, and can be late by a millisecond.
func pauseUntil(moment time.Time) { time.Sleep(time.Until(moment)) }
