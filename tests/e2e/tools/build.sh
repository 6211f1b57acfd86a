#!/usr/bin/env bash
# Builds the real components that the end-to-end tests run, from pinned Go modules, once per pin.
#
#   build.sh TOOLSET        prints the folder that holds the binaries
#
# TOOLSET is one of
#   controlplane   etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl, kwok
#   prometheus     prometheus, promtool
#   keda           operator, adapter, webhooks, the folder crds, and conformance: our client around KEDA's package
#   kueue          kueue, and the folder components: its kinds and webhooks as it ships them
#   hpa-oracle     hpa-oracle: our program around the controller's package, built in the module of controlplane
# A finished build is kept in the cache folder under a key made of everything that decides its content, so a second
# call costs nothing, a changed pin never reuses an old one, and one toolset's change leaves the others' as they are.
set -euo pipefail

toolset=${1:?usage: build.sh controlplane|prometheus|keda|kueue|hpa-oracle}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${PLIMSOLL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/plimsoll}
kubernetes=1.36.3

command -v go >/dev/null || { echo "build.sh: Go 1.26 or newer is needed to build the control plane" >&2; exit 1; }

# What a toolset is built from: its module, the folders of our own sources in it, tags, and linker flags.
module=$toolset
own=()
tags=""
version=""
case "$toolset" in
  controlplane)
    version="-X k8s.io/component-base/version.gitVersion=v$kubernetes"
    version="$version -X k8s.io/component-base/version.gitMajor=${kubernetes%%.*}"
    version="$version -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$kubernetes")"
    ;;
  prometheus) tags="remove_all_sd,enable_kubernetes_sd" ;;
  keda) own=(conformance) ;;
  kueue) ;;
  hpa-oracle) module=controlplane; own=(hpa-oracle) ;;
  *) echo "build.sh: unknown toolset '$toolset'" >&2; exit 2 ;;
esac

# How it is built, into the folder $1: a module's tools, and our own program where that is the toolset.
build() {
  local tools
  if [ "$toolset" = "$module" ]; then
    mapfile -t tools < <(go list -f '{{.ImportPath}}' tool)
  else
    tools=(./"$toolset")
  fi
  CGO_ENABLED=0 go build -p "$(nproc)" -trimpath -tags "$tags" -ldflags "-s -w $version" -o "$1/" "${tools[@]}" >&2
}

# What is done to it then; most need nothing.
finish_controlplane() {
  # etcd's main package is the module root, so its binary comes out as `server`.
  mv "$1/server" "$1/etcd"
}
finish_keda() {
  cp -R "$(go list -m -f '{{.Dir}}' github.com/kedacore/keda/v2)/config/crd/bases" "$1/crds"
  chmod -R u+w "$1/crds"
}
finish_kueue() {
  cp -R "$(go list -m -f '{{.Dir}}' sigs.k8s.io/kueue)/config/components" "$1/components"
  chmod -R u+w "$1/components"
}

cd "$here/$module"
key=$({
  cat go.mod go.sum
  for folder in "${own[@]}"; do tail -n +1 "$folder"/*; done
  echo "$tags $version"
  declare -f build "finish_$toolset" || true
  go version
} | sha256sum | cut -c1-16)
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
  build "$staging"
  if declare -f "finish_$toolset" >/dev/null; then "finish_$toolset" "$staging"; fi
  touch "$staging/.complete"
  rm -rf "$out"
  mv "$staging" "$out"
  trap - EXIT
fi
echo "$out"
