#!/usr/bin/env bash
# Copyright The Muster Authors.
# SPDX-License-Identifier: Apache-2.0

# Regenerates everything that is generated from the types in pkg/apis: deepcopy,
# conversion and defaults beside the types; OpenAPI, clients, listers, informers and
# apply configurations in pkg/generated; docs/compatibility.md.

set -o errexit
set -o nounset
set -o pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly MODULE=github.com/muster-project/muster
readonly BOILERPLATE=hack/boilerplate.go.txt

# The generators are built into here. The build cache makes all but the first time
# quick.
GOBIN="${CODEGEN_BIN:-${PWD}/bin/codegen}"
export GOBIN

# An empty module cache has no directory to list.
go mod download k8s.io/code-generator
CODEGEN_DIR="$(go list -m -f '{{.Dir}}' k8s.io/code-generator)"
# shellcheck disable=SC1091 # it is in the module cache
source "${CODEGEN_DIR}/kube_codegen.sh"

kube::codegen::gen_helpers \
	--boilerplate "${BOILERPLATE}" \
	--extra-peer-dir "${MODULE}/pkg/apis/lib" \
	--extra-peer-dir "${MODULE}/pkg/apis/lib/v1beta1" \
	--extra-peer-dir "${MODULE}/pkg/apis/lib/v1alpha1" \
	pkg/apis

kube::codegen::gen_openapi \
	--boilerplate "${BOILERPLATE}" \
	--output-dir pkg/generated/openapi \
	--output-pkg "${MODULE}/pkg/generated/openapi" \
	--output-model-name-file zz_generated.model_name.go \
	--extra-pkgs k8s.io/api/core/v1 \
	--extra-pkgs k8s.io/apimachinery/pkg/util/intstr \
	--report-filename hack/api-violations.list \
	${UPDATE_API_VIOLATIONS:+--update-report} \
	pkg/apis

# Of the core group the types refer to ObjectReference alone; the rest, which is most
# of the file, would be served as if it were ours.
OPENAPI=pkg/generated/openapi/zz_generated.openapi.go
awk '
	/schema_k8sio_api_core_v1_[A-Za-z]+\(ref/ && !/_ObjectReference\(ref/ { skip = /^func/; next }
	/^}/ && skip { skip = 0; next }
	!skip
' "${OPENAPI}" >"${OPENAPI}.tmp"
mv "${OPENAPI}.tmp" "${OPENAPI}"
gofmt -w "${OPENAPI}"

# Apply configurations need the schema of the types to tell apart which fields of an
# object a field manager owns.
SCHEMA="$(mktemp)"
trap 'rm -f "${SCHEMA}"' EXIT
go run ./hack/models-schema >"${SCHEMA}"

kube::codegen::gen_client \
	--boilerplate "${BOILERPLATE}" \
	--output-dir pkg/generated \
	--output-pkg "${MODULE}/pkg/generated" \
	--with-watch \
	--with-applyconfig \
	--applyconfig-openapi-schema "${SCHEMA}" \
	pkg/apis

go run ./hack/compatibility >docs/compatibility.md
