#!/usr/bin/env bash
# Copyright The Muster Authors.
# SPDX-License-Identifier: Apache-2.0

# Renders the chart, with its defaults, into the plain YAML of artifacts/deploy:
# one file for each thing that a reader looks for, in the order in which kubectl
# should apply them. Hooks are left out, because only Helm runs them.
#
# Usage: hack/render-deploy.sh [output directory]
# HELM is the program that renders; hack/kube/build.sh builds it into bin/.

set -o errexit
set -o nounset
set -o pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly OUTPUT="${1:-artifacts/deploy}"
readonly CHART=artifacts/chart/muster
readonly NAMESPACE=projectsveltos
readonly HELM="${HELM:-bin/helm}"

if ! command -v "${HELM}" >/dev/null; then
	echo "${HELM} is missing: run make build, or set HELM to a Helm of version 3" >&2
	exit 1
fi

# render FILE TEMPLATE...: helm names the template above each document, which
# says nothing here.
render() {
	local file=$1 template
	local show=()
	shift
	for template in "$@"; do
		show+=(--show-only "templates/${template}.yaml")
	done
	{
		echo "# Rendered from ${CHART} by hack/render-deploy.sh; change the chart."
		"${HELM}" template muster "${CHART}" --namespace "${NAMESPACE}" --no-hooks --kube-version 1.37.0 "${show[@]}" |
			grep -v '^# Source: '
	} >"${OUTPUT}/${file}"
}

mkdir -p "${OUTPUT}"
rm -f "${OUTPUT}"/*.yaml
# Helm makes the namespace by itself, with --create-namespace.
cat >"${OUTPUT}/10-namespace.yaml" <<-EOF
	apiVersion: v1
	kind: Namespace
	metadata:
	  name: ${NAMESPACE}
EOF
render 20-rbac.yaml rbac
render 30-user-roles.yaml user-roles
render 40-network.yaml service networkpolicy
render 50-prepare.yaml prepare
render 60-etcd.yaml etcd
render 70-deployment.yaml deployment
render 80-apiservices.yaml apiservices
