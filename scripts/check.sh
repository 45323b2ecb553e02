#!/bin/sh
# Everything that CI runs, in the order of what fails fastest. `npm run check` is exactly this.
set -eu
cd "$(dirname "$0")/.."
sh scripts/with-node.sh scripts/ready.ts
PATH="$PWD/node_modules/.bin:$PATH"

step() {
  printf '\n== %s\n' "$1"
  shift
  "$@"
}

step 'types' tsc --noEmit
step 'lint, format, dependency rules' biome check --error-on-warnings .
step 'unused files, exports and dependencies' knip --no-progress
step 'generated files in step' npm run --silent generate -- --check
step 'tests' npm test
