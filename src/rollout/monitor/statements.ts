/**
 * What pg_stat_statements knows (guide G55–G57, with the names of today: notes N6, N18). Only statements on watched
 * tables are looked at; their texts are as the extension has them, constants replaced by $1.
 */
import type { ClientBase } from 'pg';
import pg from 'pg';
import { type Finding, fail, pass, warn } from '../finding.ts';
import { identifier } from '../identifier.ts';
import { readStatement, type StatementText } from './sql-text.ts';
import type { Subject, WatchedTable } from './subject.ts';

/**
 * - scoped: chooses rows by the owner (G55)
 * - unscoped: does not, and says no reason (G56, G57)
 * - system: carries the mark `SYSTEM: reason` in a comment
 * - legacy: the old application's, which knows no owner
 */
export type StatementKind = 'scoped' | 'unscoped' | 'system' | 'legacy';

export interface ObservedStatement {
  readonly kind: StatementKind;
  readonly query: string;
  readonly role: string;
  /** Policies do not bind the role on one of the tables: it saw everybody's rows. */
  readonly abovePolicies: boolean;
  readonly calls: number;
  readonly rows: number;
  /** Milliseconds. */
  readonly totalTime: number;
  readonly meanTime: number;
  /** Labels of watched tables; for an unscoped one those without a condition on the owner. */
  readonly tables: readonly string[];
}

export interface Statements {
  /** False: nothing is collected; the findings say why. */
  readonly collected: boolean;
  /** By total time, the longest first. */
  readonly statements: readonly ObservedStatement[];
  readonly since: Date | null;
  readonly findings: readonly Finding[];
}

const check = 'statements-collected';
const preload =
  "add pg_stat_statements to shared_preload_libraries (alter system set shared_preload_libraries = 'pg_stat_statements', beside what is there), restart Postgres";

/** Texts beyond this are cut before they are read: what a statement works on stands near its beginning. */
const textCharsMax = 20_000;

export async function observeStatements(client: ClientBase, subject: Subject): Promise<Statements> {
  const { rows } = await client.query<Extension>(extension);
  const [found] = rows;
  const nothing = (finding: Finding): Statements => ({
    collected: false,
    statements: [],
    since: null,
    findings: [finding],
  });
  if (!found) {
    const remedy = `${preload}, then in this database: create extension pg_stat_statements`;
    return nothing(fail(check, undefined, 'pg_stat_statements is not installed in this database', remedy));
  }
  try {
    return await read(client, found, subject);
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) throw error;
    if (error.code === '55000') {
      return nothing(fail(check, undefined, 'pg_stat_statements is installed but not preloaded', preload));
    }
    if (error.code !== '42501') throw error;
    const remedy = `grant select on ${view(found)} and membership in pg_read_all_stats to this role`;
    return nothing(fail(check, undefined, `pg_stat_statements may not be read: ${error.message}`, remedy));
  }
}

interface Extension {
  schema: string;
  /** Before 1.8 the columns were total_time and mean_time: the version stays what it was over pg_upgrade. */
  modern: boolean;
  info: boolean;
}

const extension = `
select n.nspname::text as schema,
  exists (
    select from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.relnamespace = n.oid and c.relname = 'pg_stat_statements' and a.attname = 'total_exec_time'
  ) as modern,
  exists (select from pg_class c where c.relnamespace = n.oid and c.relname = 'pg_stat_statements_info') as info
from pg_extension e join pg_namespace n on n.oid = e.extnamespace
where e.extname = 'pg_stat_statements'`;

const view = ({ schema }: Extension) => `${identifier(schema)}.pg_stat_statements`;

interface StatementRow {
  query: string | null;
  role: string | null;
  above: boolean;
  owns: string[];
  calls: number;
  rows: number;
  total: number;
}

/** $1: names of watched tables, $2: their labels. Hidden texts of other roles come as null. */
const statementsOf = (found: Extension) => `
select /* ringfence monitor */ nullif(left(s.query, ${textCharsMax}), '<insufficient privilege>') as query, r.rolname::text as role,
  coalesce(r.rolsuper or r.rolbypassrls, false) as above,
  array(
    select w.label from unnest($2::text[]) w (label) join pg_class c on c.oid = to_regclass(w.label)
    where not c.relrowsecurity or (not c.relforcerowsecurity and pg_has_role(r.oid, c.relowner, 'USAGE'))
  ) as owns,
  sum(s.calls)::float8 as calls, sum(s.rows)::float8 as rows, sum(s.${found.modern ? 'total_exec_time' : 'total_time'})::float8 as total
from ${view(found)} s left join pg_roles r on r.oid = s.userid
where s.dbid = (select oid from pg_database where datname = current_database())
  and (s.query is null or s.query = '<insufficient privilege>'
    or exists (select from unnest($1::text[]) w (name) where position(lower(w.name) in lower(s.query)) > 0))
group by s.queryid, s.query, r.oid, r.rolname, r.rolsuper, r.rolbypassrls
order by total desc`;

async function read(client: ClientBase, found: Extension, subject: Subject): Promise<Statements> {
  // As it stands in a statement: a quote within a quoted name is doubled.
  const names = [...new Set(subject.tables.map(({ name }) => name.replaceAll('"', '""')))];
  const labels = subject.tables.map(({ table }) => table);
  const { rows } = await client.query<StatementRow>(statementsOf(found), [names, labels]);
  const statements = rows.flatMap((row) => observed(row, subject) ?? []);
  const hidden = rows.filter(({ query }) => query === null).length;
  const { since, lost } = await historyOf(client, found);
  const findings = [
    ...unscopedFindings(statements, subject),
    ...legacyFindings(statements),
    ...systemFindings(statements, subject),
  ];
  if (hidden > 0) {
    const remedy = 'read with a role that is a member of pg_read_all_stats';
    findings.push(warn(check, undefined, `the texts of ${hidden} statements of other roles are hidden`, remedy));
  }
  if (lost > 0) {
    const remedy = 'raise pg_stat_statements.max, so that no statement is forgotten';
    findings.push(warn(check, undefined, `statements were pushed out ${lost} times: the list has gaps`, remedy));
  }
  if (findings.length === 0)
    findings.push(
      pass('unscoped-statements', undefined, 'every statement on a watched table names its owner or is marked SYSTEM'),
    );
  return { collected: true, statements, since, findings };
}

async function historyOf(client: ClientBase, found: Extension): Promise<{ since: Date | null; lost: number }> {
  if (!found.info) return { since: null, lost: 0 };
  const { rows } = await client.query<{ since: Date; lost: number }>(
    `select stats_reset as since, dealloc::float8 as lost from ${identifier(found.schema)}.pg_stat_statements_info`,
  );
  return rows[0] ?? { since: null, lost: 0 };
}

/** Statements that define things, and those of a rollout. EXPLAIN shows a plan, not rows. */
const notLooked = new Set(
  'create alter drop comment grant revoke analyze vacuum reindex cluster refresh explain security import reassign'.split(
    ' ',
  ),
);

/** Referential integrity is checked by Postgres itself, by primary key, beyond all policies (ri_triggers.c). */
const ofPostgres = /\bONLY\b[\s\S]*OPERATOR\(pg_catalog\./;

function observed(row: StatementRow, subject: Subject): ObservedStatement | undefined {
  const { query } = row;
  if (query === null || ofPostgres.test(query)) return undefined;
  const text = readStatement(query);
  if (notLooked.has(text.verb) || text.names.has('ringfence_rollout')) return undefined;
  if (text.comments.some((comment) => comment.startsWith('ringfence '))) return undefined;
  const touched = subject.tables.filter((table) => works(text, table));
  if (touched.length === 0) return undefined;
  const open = touched.filter(({ ownerColumn }) => !text.conditions.has(ownerColumn));
  const kind = kindOf(text, open, row.role, subject);
  const tables = (kind === 'unscoped' ? open : touched).map(({ table }) => table);
  return {
    kind,
    query,
    role: row.role ?? 'a role that is gone',
    abovePolicies: row.above || tables.some((table) => row.owns.includes(table)),
    calls: row.calls,
    rows: row.rows,
    totalTime: row.total,
    meanTime: row.calls > 0 ? row.total / row.calls : 0,
    tables,
  };
}

function works({ tables }: StatementText, { schema, name }: WatchedTable): boolean {
  // Without a schema it may be any table of that name: the search path is not recorded.
  return tables.some((path) => path.at(-1) === name && (path.length === 1 || path.at(-2) === schema));
}

function kindOf(
  text: StatementText,
  open: readonly WatchedTable[],
  role: string | null,
  subject: Subject,
): StatementKind {
  if (text.comments.some((comment) => comment.startsWith('SYSTEM'))) return 'system';
  if (open.length === 0 || text.names.has('current_user_id') || text.names.has('verified_user_id')) return 'scoped';
  return role !== null && subject.legacyRoles.includes(role) ? 'legacy' : 'unscoped';
}

function unscopedFindings(statements: readonly ObservedStatement[], subject: Subject): Finding[] {
  const remedy =
    'add the condition on the owner, or if it is meant to see every row let it run in system mode with /* SYSTEM: reason */ behind its first word (a comment in front is not recorded); then forget the old counts with pg_stat_statements_reset()';
  return statements
    .filter(({ kind }) => kind === 'unscoped')
    .map((statement) => {
      const held = statement.abovePolicies ? 'and no policy binds that role' : 'policies held it to one user';
      const message = `${times(statement.calls)} as ${statement.role} without a condition on the owner (${held}): ${shortened(statement.query)}`;
      const severity = statement.abovePolicies || subject.filtersItself ? fail : warn;
      return severity('unscoped-statements', statement.tables.join(', '), message, remedy);
    });
}

function legacyFindings(statements: readonly ObservedStatement[]): Finding[] {
  const legacy = statements.filter(({ kind }) => kind === 'legacy');
  const roles = [...new Set(legacy.map(({ role }) => role))];
  return roles.map((role) => {
    const own = legacy.filter((statement) => statement.role === role);
    const calls = own.reduce((sum, statement) => sum + statement.calls, 0);
    const remedy =
      'none while the old application runs; when it is off, seal the rollout and forget the counts with pg_stat_statements_reset()';
    const message = `statements of the old application without an owner: ${own.length}, which ${times(calls)}`;
    return warn('legacy-statements', `role ${role}`, message, remedy);
  });
}

/** The mark is a text that anybody can write; the role is not. */
function systemFindings(statements: readonly ObservedStatement[], { appRole }: Subject): Finding[] {
  return statements
    .filter(({ kind, role }) => kind === 'system' && role === appRole)
    .map((statement) =>
      warn(
        'system-mark',
        statement.tables.join(', '),
        `marked SYSTEM but run as ${appRole}, ${times(statement.calls)}: ${shortened(statement.query)}`,
        'system mode has a role of its own; find out who writes the mark, policies held the statement to one user',
      ),
    );
}

function times(calls: number): string {
  return calls === 1 ? 'ran once' : `ran ${calls} times`;
}

const shownChars = 200;

/** On one line, cut. The printer escapes what a terminal would obey. */
export function shortened(query: string, width = shownChars): string {
  const line = query.replaceAll(/\s+/g, ' ').trim();
  return [...line].length > width ? `${[...line].slice(0, width - 1).join('')}…` : line;
}
