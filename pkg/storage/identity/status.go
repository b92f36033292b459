// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"encoding/json"
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// causeHeld marks the cause of a Status that carries, as JSON, what was found.
const causeHeld metav1.CauseType = "MusterStorageHeld"

// Unavailable is what the API answers where storage cannot be trusted: 503,
// without a time to retry after, because clients would wait for it rather than
// show why. Causes carry what was found, for FromStatus.
func Unavailable(err error) *apierrors.StatusError {
	status := apierrors.NewServiceUnavailable(err.Error())
	status.ErrStatus.Code = http.StatusServiceUnavailable
	var held *Held
	if !errors.As(err, &held) {
		return status
	}
	found, encodeErr := json.Marshal(held.Found)
	if encodeErr != nil {
		return status
	}
	status.ErrStatus.Details = &metav1.StatusDetails{Causes: []metav1.StatusCause{
		{Type: causeHeld, Field: string(held.Reason), Message: string(found)},
	}}
	return status
}

// FromStatus returns the reason and what was found from an answer of the API
// that was made by Unavailable. ok is false for any other error.
func FromStatus(err error) (reason Reason, found Found, ok bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return "", Found{}, false
	}
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == causeHeld && json.Unmarshal([]byte(cause.Message), &found) == nil {
			return Reason(cause.Field), found, true
		}
	}
	return "", Found{}, false
}
