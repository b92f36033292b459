// Copyright The Muster Authors.
// SPDX-License-Identifier: Apache-2.0

package health

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"

	libv1beta1 "github.com/muster-project/muster/pkg/apis/lib/v1beta1"
)

const (
	// defaultMetricPath is where Prometheus answers queries.
	defaultMetricPath = "api/v1/query"
	// MaxMetricAnswer is the longest answer to a query, in bytes. It holds one number.
	MaxMetricAnswer = 1 << 20
)

// MetricURL is where a query is asked.
func MetricURL(source *libv1beta1.MetricSource, query string) (string, error) {
	target, err := url.JoinPath(source.URL, cmp.Or(source.Path, defaultMetricPath))
	if err != nil {
		return "", errors.New("metricSource.url is no URL")
	}
	return target + "?" + url.Values{"query": {query}}.Encode(), nil
}

// ParseMetric reads the number in an answer of Prometheus: a scalar, or the only element
// of a vector.
func ParseMetric(answer []byte) (float64, error) {
	var body struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			ResultType string          `json:"resultType"`
			Result     json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if json.Unmarshal(answer, &body) != nil || body.Status == "" {
		return 0, errors.New("the server does not answer as Prometheus does")
	}
	if body.Status != "success" {
		return 0, fmt.Errorf("the server says: %s", clip(body.Error))
	}
	switch body.Data.ResultType {
	case "scalar":
		return sample(body.Data.Result)
	case "vector":
		var vector []struct {
			Value json.RawMessage `json:"value"`
		}
		if json.Unmarshal(body.Data.Result, &vector) != nil || len(vector) != 1 {
			return 0, fmt.Errorf("the result has %d elements, it has to have one; aggregate them", len(vector))
		}
		return sample(vector[0].Value)
	}
	return 0, fmt.Errorf("the result is a %s, it has to be a scalar or a vector of one element", clip(body.Data.ResultType))
}

// maxQuoted is how much of an answer is quoted, in bytes: it ends up in a status.
const maxQuoted = 512

func clip(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxQuoted)], "")
}

// sample reads the value of [time, "value"].
func sample(raw json.RawMessage) (float64, error) {
	var pair []any
	if json.Unmarshal(raw, &pair) != nil || len(pair) != 2 {
		return 0, errors.New("the server does not answer as Prometheus does")
	}
	text, _ := pair[1].(string)
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
		return 0, fmt.Errorf("the result is %q, which is no number to compare with", clip(text))
	}
	return value, nil
}
