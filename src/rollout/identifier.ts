/**
 * Names in SQL. Names come from a database that may hold anything: mixed case, spaces, reserved words, quotes, names of
 * 63 bytes. Whatever goes into a statement goes through here; values never do, they are bound or `literal`.
 */
import { createHash } from 'node:crypto';
import pg from 'pg';

/** Postgres cuts longer names off, with a notice only, so that two could become one (NAMEDATALEN - 1). */
const nameBytesMax = 63;

/**
 * Quotes a name where it has to be, as quote_ident() does, so that what people read stays readable.
 */
export function identifier(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) && !keywords.has(name) ? name : pg.escapeIdentifier(name);
}

/** A table, index, function or sequence with its schema. */
export function qualified(schema: string, name: string): string {
  return `${identifier(schema)}.${identifier(name)}`;
}

/** Text as an SQL literal, for statements that take no parameters (DDL, scripts for psql). */
export function literal(text: string): string {
  return pg.escapeLiteral(text);
}

export function columnList(columns: readonly string[]): string {
  return columns.map(identifier).join(', ');
}

/**
 * A name of ours made from others, never longer than Postgres takes: cut on a character's border and made unique by a
 * hash of the whole where it is too long.
 */
export function derivedName(...parts: readonly string[]): string {
  const whole = parts.join('_');
  if (Buffer.byteLength(whole) <= nameBytesMax) return whole;
  const suffix = `_${createHash('sha256').update(whole).digest('hex').slice(0, 8)}`;
  let kept = '';
  for (const character of whole) {
    if (Buffer.byteLength(kept + character) > nameBytesMax - suffix.length) break;
    kept += character;
  }
  return kept + suffix;
}

/** What quote_ident() quotes: every keyword that is not unreserved (pg_get_keywords(), Postgres 15 to 18). */
const keywords: ReadonlySet<string> = new Set(
  `all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case cast char
  character check coalesce collate collation column concurrently constraint create cross current_catalog current_date
  current_role current_schema current_time current_timestamp current_user dec decimal default deferrable desc distinct do
  else end except exists extract false fetch float for foreign freeze from full grant greatest group grouping having ilike
  in initially inner inout int integer intersect interval into is isnull join json json_array json_arrayagg json_exists
  json_object json_objectagg json_query json_scalar json_serialize json_table json_value lateral leading least left like
  limit localtime localtimestamp merge_action national natural nchar none normalize not notnull null nullif numeric offset
  on only or order out outer overlaps overlay placing position precision primary real references returning right row
  select session_user setof similar smallint some substring symmetric system_user table tablesample then time timestamp to
  trailing treat trim true union unique user using values varchar variadic verbose when where window with xmlattributes
  xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable`.split(/\s+/),
);
