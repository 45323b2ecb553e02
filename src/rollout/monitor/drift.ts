/** What has changed since somebody last looked: policies, keys and grants against the last `verify`, and tables nobody knows. */
import type { ClientBase } from 'pg';
import { z } from 'zod';
import { ownSchemas } from '../catalog.ts';
import { type Finding, fail, pass, warn } from '../finding.ts';
import { readEvents } from '../state.ts';
import type { Fingerprint } from '../verify/fingerprint.ts';
import type { Subject } from './subject.ts';

const verified = z.looseObject({ fingerprint: z.record(z.string(), z.string()) });

export interface Drift {
  /** Parts that are otherwise than at the last verify; null when there is nothing to compare with. */
  readonly changed: readonly string[] | null;
  readonly unclassified: readonly string[];
  readonly findings: readonly Finding[];
}

/** @param now the fingerprint of this moment; null when there is no plan to take one by */
export async function observeDrift(client: ClientBase, subject: Subject, now: Fingerprint | null): Promise<Drift> {
  const events = now === null ? [] : await readEvents(client, 'verify');
  const last = events.flatMap(({ at, detail }) => {
    const parsed = verified.safeParse(detail);
    return parsed.success ? [{ at, fingerprint: parsed.data.fingerprint }] : [];
  });
  const before = last.at(-1);
  const changed = now !== null && before !== undefined ? differences(before.fingerprint, now) : null;
  const unknown = await unclassifiedTables(client, subject);
  const findings = [...unclassifiedFindings(unknown, subject)];
  if (now !== null && before === undefined) {
    findings.push(
      warn('drift', undefined, 'there is no result of `ringfence verify` to compare with', 'run: ringfence verify'),
    );
  } else if (changed !== null && before !== undefined) {
    findings.push(...driftFindings(changed, before.at));
  }
  return { changed, unclassified: unknown.map(({ label }) => label), findings };
}

function differences(before: Fingerprint, now: Fingerprint): string[] {
  const parts = new Set([...Object.keys(before), ...Object.keys(now)]);
  return [...parts].filter((part) => before[part] !== now[part]).sort();
}

function driftFindings(changed: readonly string[], since: Date): Finding[] {
  const when = since.toISOString();
  if (changed.length === 0) return [pass('drift', undefined, `nothing has changed since the verify of ${when}`)];
  const remedy = 'run `ringfence verify`: it says what is wrong, or takes the present state as the one to compare with';
  return changed.map((part) => fail('drift', part, `has changed since the verify of ${when}`, remedy));
}

interface UnknownTable {
  label: string;
  reachable: boolean;
}

/** $1 labels that are known, $2 schemas of the rollout, $3 the application's role. Partitions of known tables are known. */
const unclassified = `
select format('%I.%I', n.nspname, c.relname) as label,
  coalesce((
    select has_schema_privilege(r.oid, n.oid, 'USAGE') and (
      has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE') or has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE'))
    from pg_roles r where r.rolname = $3
  ), false) as reachable
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'f') and c.relpersistence <> 't'
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and n.nspname <> all ($2)
  and not exists (
    select from unnest($1::text[]) k (label)
    where to_regclass(k.label) = c.oid or to_regclass(k.label) in (select relid from pg_partition_ancestors(c.oid))
  )
  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
order by 1`;

async function unclassifiedTables(client: ClientBase, subject: Subject): Promise<UnknownTable[]> {
  if (subject.unowned === null) return [];
  const known = [...subject.tables.map(({ table }) => table), ...subject.unowned];
  const { rows } = await client.query<UnknownTable>(unclassified, [known, ownSchemas, subject.appRole]);
  return rows;
}

function unclassifiedFindings(unknown: readonly UnknownTable[], { appRole }: Subject): Finding[] {
  const remedy = 'say whose its rows are: classify it in the configuration and run `ringfence plan`';
  return unknown.map(({ label, reachable }) =>
    reachable
      ? fail(
          'unclassified-table',
          label,
          `is new: nobody has said whose its rows are, and ${appRole} reaches it`,
          remedy,
        )
      : warn('unclassified-table', label, 'is new: nobody has said whose its rows are', remedy),
  );
}
