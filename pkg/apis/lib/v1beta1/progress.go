// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package v1beta1

// Types of conditions that say of any kind whether something is going on. They are
// there while they are true and at no other time, which is how kstatus reads them,
// and with it kubectl, Flux and Argo CD.
const (
	// ConditionReconciling is true while Muster works on what the spec asks for, or
	// waits for something that comes without a person.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is true while nothing goes on until a person does something.
	ConditionStalled = "Stalled"
)
