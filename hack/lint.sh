#!/usr/bin/env bash
# Copyright The Muster Authors.
# SPDX-License-Identifier: Apache-2.0

# Checks the form of the code and the rules of CONTRIBUTING.md. Every check runs;
# any finding fails.

set -o nounset
set -o pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

readonly MODULE=github.com/muster-project/muster
status=0

# check NAME COMMAND...: whatever the command prints or returns is a finding, but
# for what the go command tells of filling an empty module cache.
check() {
	local name=$1 out code=0
	shift
	echo "lint: ${name}" >&2
	out="$("$@" 2>&1)" || code=$?
	out="$(grep -v '^go: downloading ' <<<"${out}")"
	if [ -n "${out}" ] || [ "${code}" -ne 0 ]; then
		printf '%s\n%s failed\n\n' "${out}" "${name}" >&2
		status=1
	fi
}

# The Go files that people write.
handwritten() {
	git ls-files --cached --others --exclude-standard '*.go' | grep -v -E '^pkg/generated/|/zz_generated'
}

unformatted() {
	handwritten | xargs gofmt -l
}

unlicensed() {
	handwritten | xargs awk 'FNR == 1 && $0 != "// Copyright The Muster Authors." { print FILENAME ": no licence header" }'
}

# Left for later, or silenced.
unfinished() {
	handwritten | xargs grep -n -E '\b(TODO|FIXME|XXX)\b|\bt\.Skip|//nolint'
	return 0
}

# A context that nobody can cancel belongs in main and in tests.
detached() {
	handwritten | grep -v -E '_test\.go$|(^|/)cmd/|/main\.go$' | xargs grep -n -E 'context\.(Background|TODO)\(\)'
	return 0
}

# forbid PACKAGES... -- MODULES...: none of the packages may depend on any of the others.
forbid() {
	local packages=()
	while [ "$1" != -- ]; do
		packages+=("$1")
		shift
	done
	shift
	local forbidden
	forbidden="$(IFS='|'; echo "$*")"
	go list -deps -f '{{$p := .ImportPath}}{{range .Imports}}{{$p}} imports {{.}}
{{end}}' "${packages[@]}" | grep -E "^${MODULE}/[^ ]* imports (${forbidden})(/|$)"
	return 0
}

# The layers of docs/architecture.md, as far as they stand.
layers() {
	forbid ./pkg/selection/... ./pkg/render/... ./pkg/script/... -- k8s.io/apiserver sigs.k8s.io/controller-runtime
	forbid ./pkg/registry/... -- "${MODULE}/pkg/controllers"
	forbid ./pkg/controllers/... -- "${MODULE}/pkg/registry"
	forbid ./pkg/... ./cmd/... -- "${MODULE}/test"
}

scripts() {
	git ls-files --cached --others --exclude-standard '*.sh' .ci/run | xargs -n 1 bash -n
}

vulnerabilities() {
	local out code=0
	out="$(timeout 300 "${tools}/govulncheck" ./... 2>&1)" || code=$?
	if [ "${code}" -eq 3 ]; then
		echo "${out}"
	elif [ "${code}" -ne 0 ]; then
		echo "lint: vulnerabilities not checked, the database cannot be reached: ${out##*$'\n'}" >&3
	fi
}

exec 3>&2
tools="$(mktemp -d)"
trap 'rm -rf "${tools}"' EXIT

check "format" unformatted
check "licence headers" unlicensed
check "nothing unfinished or silenced" unfinished
check "contexts" detached
check "layers" layers
check "scripts" scripts
check "checkers build" go -C hack/tools build -o "${tools}/" tool
check "go vet" go vet ./...
# Generated informers call what the generator's own release has deprecated.
check "staticcheck" bash -c "go list ./... | grep -v -F ${MODULE}/pkg/generated/informers | xargs '${tools}/staticcheck'"
check "vulnerabilities" vulnerabilities
exit "${status}"
