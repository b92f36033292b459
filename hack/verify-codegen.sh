#!/usr/bin/env bash
# Copyright The Muster Authors.
# SPDX-License-Identifier: Apache-2.0

# Fails if anything that hack/update-codegen.sh generates differs from what is in the
# tree. It generates into a copy and changes nothing.

set -o errexit
set -o nounset
set -o pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly ROOT="${PWD}"

COPY="$(mktemp -d)"
trap 'rm -rf "${COPY}"' EXIT

mkdir -p "${COPY}/docs"
cp go.mod go.sum "${COPY}/"
cp -R --parents pkg hack/boilerplate.go.txt hack/api-violations.list hack/update-codegen.sh \
	hack/compatibility hack/models-schema "${COPY}/"

CODEGEN_BIN="${CODEGEN_BIN:-${ROOT}/bin/codegen}" "${COPY}/hack/update-codegen.sh"

status=0
for generated in pkg/apis pkg/generated docs/compatibility.md hack/api-violations.list; do
	diff --unified --recursive --new-file "${generated}" "${COPY}/${generated}" || status=1
done
if [ "${status}" -ne 0 ]; then
	echo "Generated files are out of date. Run hack/update-codegen.sh and commit what it changes." >&2
fi
exit "${status}"
