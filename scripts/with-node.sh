#!/bin/sh
# Runs a program of this project with a Node that is new enough, after installing what is missing:
#
#   sh scripts/with-node.sh FILE [ARGUMENT...]     FILE is relative to the project, the working directory stays
#
# It needs any Node with npm; npm brings the Node that the project runs on (node_modules/.bin/node).
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
stamp=$root/node_modules/.ringfence-installed
lock=$root/.npm-install.lock

fail() {
  echo "ringfence: $*" >&2
  exit 3
}

# Without npm, which alone costs a third of a second. Our stamp is the lockfile that was installed; npm's own record,
# when it is the younger one, says that somebody ran npm by hand.
installed() {
  [ -f "$root/package-lock.json" ] || return 0
  cmp -s "$root/package-lock.json" "$stamp" && return 0
  [ -n "$(find "$root/node_modules/.package-lock.json" -newer "$root/package-lock.json" 2>/dev/null)" ]
}

# A symbolic link is made in one step together with what it says, so that no lock is ever without its owner.
take_lock() {
  waited=0
  until ln -s "$$" "$lock" 2>/dev/null; do
    holder=$(readlink "$lock" || true)
    if [ -n "$holder" ] && [ ! -d "/proc/$holder" ] && ! kill -0 "$holder" 2>/dev/null; then
      mv "$lock" "$lock.$$" 2>/dev/null && rm -f "$lock.$$"
      continue
    fi
    [ "$waited" -gt 0 ] || echo "Waiting for the installation by process ${holder:-?} ..." >&2
    [ "$waited" -lt 900 ] || fail "process ${holder:-?} holds $lock for 15 minutes; remove it if that process is another"
    sleep 1
    waited=$((waited + 1))
  done
  trap 'rm -f "$lock" "${output:-}"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
}

install() {
  if [ ! -w "$root" ] || { [ -d "$root/node_modules" ] && [ ! -w "$root/node_modules" ]; }; then
    [ -d "$root/node_modules" ] && return 0 # read-only: whoever installed it has to bring it up to date
    fail "the dependencies are not installed, and $root is not writable"
  fi
  command -v npm >/dev/null 2>&1 || fail "npm is needed to install the dependencies, and there is none in PATH"
  take_lock
  if ! installed; then
    echo "Installing the dependencies into node_modules (once; about a minute) ..." >&2
    output=$(mktemp)
    # Progress and warnings (npm compares "engines" with the Node it runs on, not with the one it brings) are noise.
    if ! (cd "$root" && npm ci --include=dev --include=optional --loglevel=error --no-progress </dev/null >"$output" 2>&1); then
      cat "$output" >&2
      fail "npm could not install the dependencies, see above"
    fi
    cp "$root/package-lock.json" "$stamp"
  fi
  rm -f "$lock" "${output:-}"
  trap - EXIT INT TERM HUP
}

# 22.18 is the first that runs TypeScript as it is.
new_enough() {
  version=$("$1" --version 2>/dev/null) || return 1
  version=${version#v}
  major=${version%%.*}
  minor=${version#*.}
  minor=${minor%%.*}
  [ "$major" -gt 22 ] || { [ "$major" -eq 22 ] && [ "$minor" -ge 18 ]; }
}

[ $# -gt 0 ] || fail "usage: sh scripts/with-node.sh FILE [ARGUMENT...]"
file=$1
shift
case $file in /*) ;; *) file=$root/$file ;; esac

installed || install

# The server lives for months beside Postgres. After 8000 lists of 50 tasks: 162 MB at the most and 1.2 ms of processor
# time a request with these, 320 MB and 1.0 ms without any, 166 MB and 1.4 ms with a semi-space of 2.
flags=--disable-warning=ExperimentalWarning
case $file in */src/cli.ts) flags="$flags --max-semi-space-size=4 --heap-growing-percent=20" ;; esac

# What Node has made of the sources is kept: the modules of `apply` load in 0.22 s instead of 0.46, and the process has 85 MiB
# then instead of 109, since the compiler is not loaded. Whoever can write there can change the dependencies, too.
if [ -z "${NODE_COMPILE_CACHE:-}" ] && [ -w "$root/node_modules" ]; then
  export NODE_COMPILE_CACHE="$root/node_modules/.cache/ringfence"
fi

# The second is where npm puts it when this is somebody's dependency.
for node in "$root/node_modules/.bin/node" "$root/../.bin/node" node; do
  if new_enough "$node"; then
    # shellcheck disable=SC2086 # several flags, none with a blank in it
    exec "$node" $flags "$file" "$@"
  fi
done
fail "Node 22.18 or newer is needed; node_modules brings none for this machine, and PATH has $(node --version 2>/dev/null || echo none)"
