/**
 * Extensions whose objects were looked at: types, operators and functions over their arguments alone, run as the caller, and
 * reference data. None reads a row that its caller could not, reaches a file or another server. Not here on purpose: dblink
 * and foreign data wrappers (other servers), pg_stat_statements and pg_buffercache (what others do; our provisioning takes
 * the former from PUBLIC), adminpack, pageinspect and file_fdw (files and pages), pg_cron (runs statements later).
 */
export const harmlessExtensions: ReadonlySet<string> = new Set([
  'bloom',
  'btree_gin',
  'btree_gist',
  'citext',
  'cube',
  'dict_int',
  'dict_xsyn',
  'earthdistance',
  'fuzzystrmatch',
  'hstore',
  'intagg',
  'intarray',
  'isn',
  'ltree',
  'pg_trgm',
  'pgcrypto',
  'plpgsql',
  'postgis',
  'seg',
  'tablefunc',
  'tcn',
  'tsm_system_rows',
  'tsm_system_time',
  'unaccent',
  'uuid-ossp',
  'vector',
]);
