/** What an owner-like column holds, so that the rule for it can be chosen by looking. */
import type { ClientBase } from 'pg';
import type { Table } from './catalog.ts';
import { identifier } from './identifier.ts';
import type { LookUp, UsersTable } from './ownership.ts';

export interface ColumnContents {
  /** Rows looked at that are not null. */
  readonly values: number;
  /** Shares of them, 0 to 1. */
  readonly uuids: number;
  /** For each look-up: the share that it finds a user for. */
  readonly matches: readonly { readonly lookUp: LookUp; readonly share: number }[];
}

const rowsLookedAt = 20_000;

/** Looks at the first rows in the heap's order: bounded on any size. */
export async function readColumnContents(
  client: ClientBase,
  table: Table,
  column: string,
  users: UsersTable | null,
  lookUps: readonly LookUp[],
): Promise<ColumnContents> {
  const found = lookUps.map(
    (lookUp) => `count(*) filter (where exists (select from ${users?.table} u where ${isFound(lookUp)}))::float8`,
  );
  const { rows } = await client.query<{ values: number; uuids: number; found: number[] }>(
    `select count(*)::float8 as values, count(ringfence_uuid.is)::float8 as uuids, array[${found.join(', ')}]::float8[] as found
     from (select ${identifier(column)} as itself, ${identifier(column)}::text as value from ${table.label} where ${identifier(column)} is not null limit $1) x
     left join lateral (select true as is where x.value collate "C" ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$') ringfence_uuid on true`,
    [rowsLookedAt],
  );
  const { values = 0, uuids = 0, found: counts = [] } = rows[0] ?? {};
  const share = (count: number) => (values === 0 ? 0 : count / values);
  return {
    values,
    uuids: share(uuids),
    matches: lookUps.map((lookUp, at) => ({ lookUp, share: share(counts[at] ?? 0) })),
  };
}

function isFound({ usersColumn, ignoreCase, as }: LookUp): string {
  const known = `u.${identifier(usersColumn)}`;
  if (ignoreCase) return `lower(${known}::text) = lower(x.value)`;
  return as === undefined ? `${known} = x.itself` : `${known}::text = ${as === 'uuid' ? 'lower(x.value)' : 'x.value'}`;
}
