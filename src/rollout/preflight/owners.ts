/** By what columns it could be known whose a row is, and what is in them. Read from the rows: names alone deceive. */
import type { Column, Table } from '../catalog.ts';
import { sqlState } from '../connection.ts';
import { type Finding, pass, warn } from '../finding.ts';
import { identifier } from '../identifier.ts';
import { shareText } from './amounts.ts';
import { rowsOf } from './estimate.ts';
import { looksLikeOwner } from './owner-names.ts';
import { contentsQuery, matchName, type UserColumn } from './owner-queries.ts';
import { listed, type Subject } from './subject.ts';
import { identifyingColumns } from './users-table.ts';

/** Read whole in a second or two. */
const sampleAboveBytes = 64 * 1024 * 1024;
const sampleRows = 20_000;
/** One table must not keep the whole report waiting, nor a snapshot open for long. */
const readSeconds = 30;

export async function ownerFindings(subject: Subject): Promise<Finding[]> {
  const { users } = subject;
  const findings = usersFindings(users);
  const [likeliest] = users;
  for (const table of subject.roots) {
    if (table.kind === 'foreign') continue;
    const columns = ownerColumns(table, users);
    if (columns.length > 0) findings.push(...(await contentsFindings(subject, table, columns, userColumns(users))));
    else if (table !== likeliest && !leadsToOwner(subject, table, users)) findings.push(ownerless(table));
  }
  return findings;
}

function usersFindings(users: readonly Table[]): Finding[] {
  const [first, ...others] = users;
  if (!first) {
    const message = 'No table looks like the table of users.';
    const remedy = 'Name it in the configuration ("users": { "table": … }), or accept ids made from the owner columns.';
    return [warn('users-table', undefined, message, remedy)];
  }
  const id = first.columns.find((column) => column.name === first.primaryKey?.columns[0]);
  if (others.length > 0) {
    const message = `It looks like the table of users, and so do ${listed(others.map((table) => table.label))}.`;
    return [warn('users-table', first.label, message, 'Say which in the configuration: "users": { "table": … }.')];
  }
  return [pass('users-table', first.label, `It looks like the table of users; their id is ${id?.name} (${id?.type}).`)];
}

function ownerColumns(table: Table, users: readonly Table[]): Column[] {
  if (users.includes(table)) return [];
  const labels = new Set(users.map((user) => user.label));
  const referring = new Set(
    table.foreignKeys
      .filter((key) => labels.has(key.references) && key.columns.length === 1)
      .flatMap((key) => key.columns),
  );
  const isOwnKey = (name: string) => table.primaryKey?.columns.length === 1 && table.primaryKey.columns[0] === name;
  return table.columns.filter(({ name }) => referring.has(name) || (looksLikeOwner(name) && !isOwnKey(name)));
}

function userColumns(users: readonly Table[]): UserColumn[] {
  return users.flatMap((table) =>
    identifyingColumns(table).flatMap((name) => {
      const column = table.columns.find((candidate) => candidate.name === name);
      return column ? [{ table, column }] : [];
    }),
  );
}

/** Through references, at any depth. */
function leadsToOwner({ catalog }: Subject, table: Table, users: readonly Table[]): boolean {
  const seen = new Set([table.label]);
  for (const label of seen) {
    for (const key of catalog.tables.get(label)?.foreignKeys ?? []) {
      const parent = catalog.tables.get(key.references);
      if (parent && (users.includes(parent) || ownerColumns(parent, users).length > 0)) return true;
      seen.add(key.references);
    }
  }
  return false;
}

function ownerless(table: Table): Finding {
  return warn(
    'owner-unknown',
    table.label,
    'No column and no reference says whose its rows are.',
    'Class it as shared or ignored in the configuration, or give it a source of owners.',
  );
}

interface Contents {
  readonly nulls: number;
  readonly distinct: number;
  readonly uuids: number;
  readonly emails: number;
  /** Rows found, by the users' table's oid and column: `16384.email`. */
  readonly matches: Readonly<Record<string, number>>;
}

async function contentsFindings(
  { client, options }: Subject,
  table: Table,
  columns: readonly Column[],
  users: readonly UserColumn[],
): Promise<Finding[]> {
  const whole = table.bytes <= (options.sampleAboveBytes ?? sampleAboveBytes);
  const percent = whole ? null : Math.min(100, Math.max(0.0001, (100 * sampleRows) / Math.max(rowsOf(table), 1)));
  const query = contentsQuery(table, columns, users, percent);
  const seconds = options.readSeconds ?? readSeconds;
  await client.query('begin read only');
  try {
    await client.query(`set local statement_timeout = '${seconds}s'`);
    // Comparing with a large table of users is quick as long as its values fit into a hash.
    await client.query("set local work_mem = '64MB'");
    // Rather an error than rows that a policy has left out.
    await client.query('set local row_security = off');
    const { rows } = await client.query<{ rows: number; columns: Contents[] }>(query, [whole ? null : sampleRows]);
    const [found] = rows;
    if (!found) return [];
    const basis = whole ? `exact, ${found.rows} rows` : `sample of ${found.rows} rows`;
    return columns.flatMap((column, at) => {
      const contents = found.columns[at];
      return contents ? [contentsFinding(table, column, contents, found.rows, basis, users)] : [];
    });
  } catch (error) {
    const message = unreadable(error, seconds);
    if (message === undefined) throw error;
    const remedy = 'Look at its owner columns by hand, or give the role what it lacks.';
    return [warn('owner-column', table.label, message, remedy)];
  } finally {
    await client.query('rollback');
  }
}

/** 57014 ran into the timeout; 42501 may not read, or would be filtered by a policy. */
function unreadable(error: unknown, seconds: number): string | undefined {
  const state = sqlState(error);
  if (state === '57014') return `Its owner columns could not be read within ${seconds} s.`;
  return state === '42501' ? 'Its owner columns may not be read by this role.' : undefined;
}

function contentsFinding(
  table: Table,
  column: Column,
  contents: Contents,
  rows: number,
  basis: string,
  users: readonly UserColumn[],
): Finding {
  const object = `${table.label}.${identifier(column.name)}`;
  if (rows === 0) return pass('owner-column', object, `${column.type}; there are no rows (${basis}).`);
  const values = rows - contents.nulls;
  const best = users
    .map((user) => ({ user, found: contents.matches[matchName(user)] ?? 0 }))
    .toSorted((a, b) => b.found - a.found)[0];
  const name = best ? `${best.user.table.label}.${identifier(best.user.column.name)}` : '';
  const facts = [
    column.type,
    `${contents.nulls} null`,
    `${contents.distinct} distinct`,
    `${shareText(contents.uuids, values)} UUIDs`,
    `${shareText(contents.emails, values)} e-mail addresses`,
    ...(best && best.found > 0 ? [`${shareText(best.found, values)} found in ${name}`] : []),
  ];
  const message = `${facts.join(', ')} (${basis}).`;
  if (contents.nulls > 0) {
    const remedy =
      'Rows without a value go to quarantine: give the table a second source, or assign them after the rollout.';
    return warn('owner-column', object, message, remedy);
  }
  if (users.length > 0 && (best?.found ?? 0) < values) {
    const remedy =
      'Owners that are no users (any more) get ids made from their names; say by "owner" how to read the column.';
    return warn('owner-column', object, message, remedy);
  }
  return pass('owner-column', object, message);
}
