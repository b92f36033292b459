// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
)

// Query asks a server for what is of this moment: the answer, of at most limit bytes, is
// not kept and never an older one. It goes to no address that a source may not be fetched
// from, and takes no longer than a fetch may. Errors are *Error, or the context's.
func (f *Fetcher) Query(ctx context.Context, source Source, limit int64) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, f.options.Timeout)
	defer cancel()
	bounded := &Fetcher{options: f.options}
	bounded.options.Limit = limit
	blobs, err := bounded.blobs(limited, source)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		failed := &Error{Reason: Unreachable, URL: RedactURL(source.URL), Err: err}
		var known *fault
		if errors.As(err, &known) {
			failed.Reason = known.reason
		}
		return nil, failed
	case len(blobs) != 1:
		return nil, &Error{Reason: Invalid, URL: RedactURL(source.URL), Err: errors.New("it is no answer to a query")}
	}
	return blobs[0].Data, nil
}
