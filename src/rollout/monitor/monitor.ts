/** One look at a live database: what `ringfence monitor` shows of it. Changes nothing. */
import type { ClientBase } from 'pg';
import { type Finding, fail, pass } from '../finding.ts';
import type { Fingerprint } from '../verify/fingerprint.ts';
import { type Drift, observeDrift } from './drift.ts';
import { type IndexUse, observeIndexes } from './indexes.ts';
import { observeStatements, type Statements } from './statements.ts';
import type { Subject } from './subject.ts';

export interface Observation {
  readonly database: string;
  readonly at: Date;
  readonly statements: Statements;
  readonly indexes: IndexUse;
  readonly drift: Drift;
  /** Watched tables on which policies are not in force: none, not enabled, or not forced on the owner. */
  readonly unprotected: readonly string[];
  readonly findings: readonly Finding[];
}

/**
 * @param fingerprint of this moment, to be compared with that of the last verify; null when there is no plan
 * @param shadowed before the cut-over policies are not in force, and need not be
 */
export async function observe(
  client: ClientBase,
  subject: Subject,
  { fingerprint, shadowed }: { fingerprint: Fingerprint | null; shadowed: boolean },
): Promise<Observation> {
  const about = await client.query<{ database: string; at: Date }>(
    'select current_database()::text as database, clock_timestamp() as at',
  );
  const statements = await observeStatements(client, subject);
  const indexes = await observeIndexes(client, subject);
  const drift = await observeDrift(client, subject, fingerprint);
  const unprotected = shadowed ? [] : await unprotectedTables(client, subject);
  const [row] = about.rows;
  return {
    database: row?.database ?? '',
    at: row?.at ?? new Date(0),
    statements,
    indexes,
    drift,
    unprotected,
    findings: [
      ...protectionFindings(unprotected, shadowed),
      ...statements.findings,
      ...indexes.findings,
      ...drift.findings,
    ],
  };
}

async function unprotectedTables(client: ClientBase, subject: Subject): Promise<string[]> {
  const { rows } = await client.query<{ label: string }>(
    `select w.label from unnest($1::text[]) w (label)
     left join pg_class c on c.oid = to_regclass(w.label)
     where c.oid is null or not (c.relrowsecurity and c.relforcerowsecurity)
       or not exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'user_isolation')
     order by 1`,
    [subject.tables.map(({ table }) => table)],
  );
  return rows.map(({ label }) => label);
}

function protectionFindings(unprotected: readonly string[], shadowed: boolean): Finding[] {
  if (shadowed) return [];
  if (unprotected.length === 0) return [pass('policies-in-force', undefined, 'on every watched table')];
  const remedy = 'run `ringfence verify`, which says what is missing, then `ringfence apply`';
  return unprotected.map((table) =>
    fail('policies-in-force', table, 'is gone, or its policy is missing, not enabled or not forced', remedy),
  );
}
