#!/usr/bin/env bash
# Copyright The Muster Authors.
# SPDX-License-Identifier: Apache-2.0

# Fails if artifacts/deploy is not what the chart renders to. It changes nothing.

set -o errexit
set -o nounset
set -o pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

FRESH="$(mktemp -d)"
trap 'rm -rf "${FRESH}"' EXIT

hack/render-deploy.sh "${FRESH}"
if ! diff --unified --recursive --new-file artifacts/deploy "${FRESH}"; then
	echo "artifacts/deploy is not the chart's. Run hack/render-deploy.sh and commit what it changes." >&2
	exit 1
fi
