#!/bin/sh
# Everything that CI runs, in the order of what fails fastest. `npm run check` is exactly this.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/node_modules/.bin:$PATH"

step() {
  printf '\n== %s\n' "$1"
  shift
  "$@"
}

step 'types' sh scripts/with-node.sh node_modules/typescript/bin/tsc --noEmit
step 'lint, format, dependency rules' biome check --error-on-warnings .
step 'unused files, exports and dependencies' knip --no-progress
step 'generated files in step' npm run --silent generate -- --check
step 'tests' npm test
step 'tests on the oldest Postgres, where it is installed' sh scripts/test-on-postgres.sh /usr/lib/postgresql/15/bin
