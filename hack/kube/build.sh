#!/usr/bin/env bash
# Copyright The Muster Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Builds the programs of the local fleet from their Go modules into bin/:
# kube-apiserver, kube-controller-manager, kubectl, etcd and helm. Once: a
# stamp file holds the checksum of what they are built from.
#
# Usage: hack/kube/build.sh [output directory]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
bin=${1:-$root/bin}
mkdir -p "$bin"
bin=$(cd "$bin" && pwd)
stamp=$bin/.kube.stamp
log=$bin/.kube.log

kubernetes=1.37.0
helm=3.22.0
programs=(etcd kube-apiserver kubectl kube-controller-manager helm)

# sha256sum is not everywhere; git is wherever this repository is.
checksum() {
  { cat "$root"/hack/{kube/{go.mod,go.sum,build.sh},helm/{go.mod,go.sum}}; go env GOVERSION GOOS GOARCH; } | git hash-object --stdin
}

built() {
  [[ -f $stamp && $(<"$stamp") == "$want" ]] || return 1
  local program
  for program in "${programs[@]}"; do
    [[ -x $bin/$program ]] || return 1
  done
}

# The stamp that every Kubernetes program reports as its version. Without it
# each API server would call itself v0.0.0 and emulate that.
version_flags() {
  local package=k8s.io/component-base/version
  echo "-s -w" \
    "-X $package.gitVersion=v$kubernetes" \
    "-X $package.gitMajor=${kubernetes%%.*}" \
    "-X $package.gitMinor=$(cut -d. -f2 <<<"$kubernetes")" \
    "-X $package.gitCommit=muster" \
    "-X $package.gitTreeState=clean"
}

# Shows how far a build is: -v prints a line for each package that is compiled.
progress() {
  awk -v name="$1" -v every="$([[ -t 2 ]] && echo 1 || echo 200)" '
    /^[A-Za-z0-9_.\/~-]+$/ { n++; if (n % every == 0) { printf "%s%s: %d packages%s", (every == 1 ? "\r" : "  "), name, n, (every == 1 ? "" : "\n"); fflush() } }
    END { if (every == 1 && n > 0) print "" }' >&2
}

# build MODULE PROGRAM PACKAGE FLAGS
build() {
  local module=$1 program=$2 package=$3 flags=$4 began=$SECONDS
  echo "building $program" >&2
  # Into a temporary name first: a fleet may be running the old one.
  if ! (cd "$root/hack/$module" && go build -v -ldflags "$flags" -o "$bin/.$program.new" "$package") 2>&1 |
    tee "$log" | progress "$program"; then
    echo "building $program failed; $log ends:" >&2
    grep -v -E '^[A-Za-z0-9_./~-]+$' "$log" | tail -n 30 >&2 || true
    return 1
  fi
  mv -f "$bin/.$program.new" "$bin/$program"
  echo "built $program in $((SECONDS - began)) s" >&2
}

want=$(checksum)
built && exit 0

# Whoever comes second waits, and finds everything built.
if command -v flock >/dev/null; then
  exec 9>"$bin/.kube.lock"
  flock -n 9 || { echo "waiting for another build of the control plane" >&2; flock 9; }
  built && exit 0
fi

echo "building the control plane of the local fleet (Kubernetes $kubernetes, etcd, Helm $helm): some minutes, once" >&2
build kube etcd go.etcd.io/etcd/server/v3 "-s -w"
build kube kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver "$(version_flags)"
build kube kubectl k8s.io/kubernetes/cmd/kubectl "$(version_flags)"
build kube kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager "$(version_flags)"
build helm helm helm.sh/helm/v3/cmd/helm "-s -w -X helm.sh/helm/v3/internal/version.version=v$helm"
rm -f "$log"
echo "$want" >"$stamp"
