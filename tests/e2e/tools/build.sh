#!/usr/bin/env bash
# Builds the real components that the end-to-end tests run, from pinned Go modules, once per pin.
#
#   build.sh TOOLSET        prints the folder that holds the binaries
#
# TOOLSET is `controlplane` (etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, kwok)
# or `prometheus` (prometheus, promtool) or `keda` (operator, adapter, webhooks, and the folder crds) or `hpa-oracle` (hpa-oracle: our program around the controller's package,
# built in the module of `controlplane`). A finished build is kept in the cache folder under a key made of
# everything that decides its content, so a second call costs nothing and a changed pin never reuses an old one.
set -euo pipefail

toolset=${1:?usage: build.sh controlplane|prometheus|keda|hpa-oracle}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PLIMSOLL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/plimsoll}
kubernetes=1.36.3

command -v go >/dev/null || { echo "build.sh: Go 1.26 or newer is needed to build the control plane" >&2; exit 1; }

tags=""
module=$toolset
sources=()
version="-X k8s.io/component-base/version.gitVersion=v$kubernetes"
version="$version -X k8s.io/component-base/version.gitMajor=${kubernetes%%.*}"
version="$version -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$kubernetes")"
case "$toolset" in
  controlplane) ;;
  prometheus) tags="remove_all_sd,enable_kubernetes_sd"; version="" ;;
  keda) version="" ;;
  hpa-oracle) version=""; module=controlplane; sources=("$here/controlplane/hpa-oracle"/*) ;;
  *) echo "build.sh: unknown toolset '$toolset'" >&2; exit 2 ;;
esac

cd "$here/$module"
key=$({ cat go.mod go.sum "$here/build.sh" "${sources[@]}"; go version; } | sha256sum | cut -c1-16)
out="$cache/tools/$toolset-$key"
if [ ! -e "$out/.complete" ]; then
  mkdir -p "$cache/tools"
  exec 9>"$cache/tools/$toolset.lock"
  flock 9
fi
if [ ! -e "$out/.complete" ]; then
  echo "building $toolset (a few minutes, once)" >&2
  staging=$(mktemp -d "$cache/tools/$toolset-staging.XXXXXX")
  trap 'rm -rf "$staging"' EXIT
  if [ "$toolset" = hpa-oracle ]; then
    tools=(./hpa-oracle)
  else
    mapfile -t tools < <(go list -f '{{.ImportPath}}' tool)
  fi
  CGO_ENABLED=0 go build -p "$(nproc)" -trimpath -tags "$tags" -ldflags "-s -w $version" -o "$staging/" "${tools[@]}" >&2
  # etcd's main package is the module root, so its binary comes out as `server`.
  if [ -e "$staging/server" ]; then mv "$staging/server" "$staging/etcd"; fi
  if [ "$toolset" = keda ]; then
    cp -R "$(go list -m -f '{{.Dir}}' github.com/kedacore/keda/v2)/config/crd/bases" "$staging/crds"
    chmod -R u+w "$staging/crds"
  fi
  touch "$staging/.complete"
  rm -rf "$out"
  mv "$staging" "$out"
  trap - EXIT
fi
echo "$out"
