#!/bin/sh
# Runs the tests that speak to the database on another Postgres, with its binaries:
#
#   sh scripts/test-on-postgres.sh /usr/lib/postgresql/15/bin [TEST...]
#
# The server is a cluster of its own in a temporary directory, and is gone afterwards.
set -eu
cd "$(dirname "$0")/.."
binaries=${1:?usage: test-on-postgres.sh BINARIES [TEST...]}
shift
if [ ! -x "$binaries/initdb" ]; then
  echo "skipped: there are no Postgres binaries in $binaries"
  exit 0
fi

# Postgres refuses root.
as=
if [ "$(id -u)" = 0 ]; then
  if ! id postgres >/dev/null 2>&1; then
    echo "skipped: Postgres does not run as root, and there is no user postgres to run it as"
    exit 0
  fi
  as='setpriv --reuid=postgres --regid=postgres --init-groups --'
fi

directory=$(mktemp -d)
[ -z "$as" ] || chown postgres "$directory"
port=$(node -e "const s = require('net').createServer().listen(0, '127.0.0.1', () => { console.log(s.address().port); s.close(); })")
stop() {
  $as "$binaries/pg_ctl" -D "$directory/data" -m immediate -w stop >/dev/null 2>&1 || true
  rm -rf "$directory"
}
trap stop EXIT
trap 'exit 130' INT TERM

$as "$binaries/initdb" -D "$directory/data" -U owner_of_tests -A trust -E UTF8 --locale=C.UTF-8 >/dev/null
$as "$binaries/pg_ctl" -D "$directory/data" -l "$directory/log" -w start >/dev/null -o "-p $port -k '$directory' \
  -c listen_addresses=127.0.0.1 -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200 -c shared_preload_libraries=pg_stat_statements -c pg_stat_statements.max=100000"
echo "on $("$binaries/postgres" --version)"
# Of the proof what depends on the server, and is short; every stage of every shape (verify/stages) takes too long for twice.
[ $# -gt 0 ] || set -- test/isolation/*.test.ts test/isolation/proof/hostile-sql.test.ts test/isolation/proof/frame.test.ts \
  src/isolation src/database/migrations.test.ts src/database/own-rollout.test.ts src/http/routes src/rollout/catalog.test.ts \
  src/rollout/run src/rollout/steps src/rollout/verify/verify.test.ts src/rollout/verify/closure
RINGFENCE_TEST_DATABASE_URL="postgres://owner_of_tests@127.0.0.1:$port/postgres" npm test -- "$@"
