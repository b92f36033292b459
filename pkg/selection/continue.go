// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"

	"github.com/muster-project/muster/pkg/fleet"
)

// maxContinue bounds the tokens that are looked at. The longest valid one
// has five names of at most 253 characters, and two of 63.
const maxContinue = 4096

// continueToken is what a Continue holds: which query it belongs to, and the
// last candidate of the page before it. Where that candidate stands follows
// from its name, so that a token is good as long as its set is, whatever has
// become of the candidate, on every replica.
type continueToken struct {
	Version int       `json:"v"`
	Set     SetKey    `json:"set"`
	Reason  Reason    `json:"reason,omitempty"`
	After   fleet.Ref `json:"after"`
}

const continueVersion = 1

func encodeContinue(set SetKey, reason Reason, after fleet.Ref) string {
	// Strings and a number: this cannot fail.
	token, _ := json.Marshal(continueToken{continueVersion, set, reason, after})
	return base64.RawURLEncoding.EncodeToString(token)
}

// decodeContinue returns nil where the query has no token.
func decodeContinue(set SetKey, query Query) (*position, error) {
	if query.Continue == "" {
		return nil, nil
	}
	token, valid := parseContinue(query.Continue)
	if !valid {
		return nil, &QueryError{"continue", "is not a token that this server gave out; ask again without it"}
	}
	if token.Set != set || token.Reason != query.Reason {
		return nil, &QueryError{"continue", "belongs to another query; ask again without it, or with that query's set and reason"}
	}
	return &position{Rank(set, token.After), token.After}, nil
}

func parseContinue(text string) (token continueToken, valid bool) {
	if len(text) > maxContinue {
		return token, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return token, false
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&token); err != nil {
		return token, false
	}
	if _, err := decoder.Token(); err != io.EOF {
		return token, false
	}
	return token, token.Version == continueVersion && token.After.Name != ""
}
