/** What the rows themselves say: whose they are, and whether what belongs together has one owner. */
import pg from 'pg';
import { Problem } from '../../errors.ts';
import type { ForeignKey, TableLabel } from '../catalog.ts';
import { type Finding, fail, warn } from '../finding.ts';
import { columnList, identifier } from '../identifier.ts';
import type { Check, Context } from './check.ts';
import { type Guarded, isUsersOwnId } from './expectation.ts';
import { type Limits, type Session, withSession } from './session.ts';

/** One line of the guide's check (G18). */
export interface OwnerlessRows {
  readonly table_name: TableLabel;
  readonly null_user_ids: number;
}

/** Reads go through whole tables; writers do not wait for them. */
const limits: Limits = { statementMs: 600_000, lockMs: 2_000 };

/** Row keys named in a finding. */
const keysNamed = 5;

/** @param ownerless filled with a line for each table, for the summary */
export function dataChecks(ownerless: OwnerlessRows[]): readonly Check[] {
  return [
    {
      name: 'owners',
      since: 'prepare',
      holds: ({ expectation: { ownership } }) =>
        ownership.users?.idKind === 'uuid'
          ? 'every row has an owner, and every owner is a user'
          : 'every row has an owner',
      run: (context) =>
        perTable(context, 'owners', async (session, guarded) => [
          ...(await nullOwners(session, guarded, ownerless)),
          ...(await strangers(context, session, guarded)),
          ...(await quarantined(context, session, guarded)),
        ]),
    },
    {
      name: 'owner-of-parent',
      since: 'owners',
      holds: () => 'no row refers to a row of another user',
      run: (context) =>
        perTable(context, 'owner-of-parent', (session, guarded) => mixedOwners(context, session, guarded)),
    },
  ];
}

/** A transaction for each table: a long one would hold back vacuum everywhere. */
async function perTable(
  context: Context,
  check: string,
  look: (session: Session, guarded: Guarded) => Promise<readonly Finding[]>,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const guarded of context.guarded) {
    if (guarded.isPartition || !hasOwnerColumn(guarded)) continue;
    try {
      findings.push(...(await withSession(context, limits, (session) => look(session, guarded))));
    } catch (error) {
      findings.push(notDone(check, guarded.label, error));
    }
  }
  return findings;
}

/** What Postgres refuses is a finding of its own; a lost connection is not. */
export function notDone(check: string, label: TableLabel | undefined, error: unknown): Finding {
  if (error instanceof Problem) return fail(check, label, `could not be done: ${error.message}`, 'Give it more time.');
  if (!(error instanceof pg.DatabaseError) || error.code === undefined) throw error;
  const message = `could not be looked at: ${error.message} (SQLSTATE ${error.code})`;
  const busy = ['57014', '55P03', '40001', '40P01'].includes(error.code);
  return busy
    ? warn(check, label, message, 'Run verify again when the table is less busy.')
    : fail(check, label, message, 'Put right what Postgres names, then run verify again.');
}

export function hasOwnerColumn({ table, owned }: Guarded): boolean {
  return table.columns.some((column) => column.name === owned.ownerColumn && column.type === 'uuid');
}

async function nullOwners(session: Session, { label, owned }: Guarded, ownerless: OwnerlessRows[]): Promise<Finding[]> {
  const [row] = await session.read<{ count: string }>(
    `select count(*) from ${label} where ${identifier(owned.ownerColumn)} is null`,
  );
  const count = Number(row?.count);
  ownerless.push({ table_name: label, null_user_ids: count });
  if (count === 0) return [];
  return [fail('row-without-owner', label, `${rows(count)} without an owner`, 'Run `ringfence apply` again.')];
}

/**
 * The owners there are, by one look-up each in the owner's index (a loose index scan): tables have many more rows than
 * owners.
 */
export function distinctOwners({ label, owned }: Guarded): string {
  const owner = identifier(owned.ownerColumn);
  return `with recursive o (owner) as (
  (select ${owner} from ${label} where ${owner} is not null order by 1 limit 1)
  union all
  select (select t.${owner} from ${label} t where t.${owner} > o.owner order by 1 limit 1) from o where o.owner is not null
)`;
}

async function strangers({ expectation, catalog }: Context, session: Session, guarded: Guarded): Promise<Finding[]> {
  const { users, quarantineOwner } = expectation.ownership;
  if (users === null || users.idKind !== 'uuid' || isUsersOwnId(expectation.ownership, guarded.owned)) return [];
  if (!catalog.tables.has(users.table)) return [];
  const found = await session.read<{ owner: string; count: string }>(
    `${distinctOwners(guarded)}, unknown as (
  select owner from o where owner is not null and owner <> $1
    and not exists (select from ${users.table} u where u.${identifier(users.id)}::text = o.owner::text)
)
select t.${identifier(guarded.owned.ownerColumn)} as owner, count(*) from unknown
join ${guarded.label} t on t.${identifier(guarded.owned.ownerColumn)} = unknown.owner
group by 1 order by 2 desc, 1`,
    [quarantineOwner],
  );
  if (found.length === 0) return [];
  const total = found.reduce((sum, { count }) => sum + Number(count), 0);
  const named = found
    .slice(0, keysNamed)
    .map(({ owner }) => owner)
    .join(', ');
  const message = `${rows(total)} whose owner is not in ${users.table}: ${named}${found.length > keysNamed ? ` and ${found.length - keysNamed} more` : ''}`;
  return [
    warn('owner-unknown', guarded.label, message, 'Give them to a user with `ringfence assign`, or delete them.'),
  ];
}

async function quarantined({ expectation }: Context, session: Session, guarded: Guarded): Promise<Finding[]> {
  const { label, owned } = guarded;
  if (isUsersOwnId(expectation.ownership, owned)) return [];
  const [row] = await session.read<{ count: string }>(
    `select count(*) from ${label} where ${identifier(owned.ownerColumn)} = $1`,
    [expectation.ownership.quarantineOwner],
  );
  const count = Number(row?.count);
  if (count === 0) return [];
  const message = `${rows(count)} in quarantine: nobody has claimed them, and no user sees them`;
  return [warn('quarantine', label, message, `Give them to users: \`ringfence assign --table ${label} …\`.`)];
}

async function mixedOwners(context: Context, session: Session, guarded: Guarded): Promise<Finding[]> {
  const seen = new Set<string>();
  const findings: Finding[] = [];
  for (const key of guarded.table.foreignKeys) {
    const parent = context.guarded.find((g) => g.label === key.references && g.owned.class === 'owned');
    if (!parent || !hasOwnerColumn(parent)) continue;
    const pairs = pairsWithoutOwner(key, guarded, parent);
    const identity = JSON.stringify([parent.label, pairs]);
    // Before the contraction there are two constraints for one reference.
    if (pairs.length === 0 || seen.has(identity)) continue;
    seen.add(identity);
    findings.push(...(await mixedIn(session, guarded, parent, key, pairs)));
  }
  return findings;
}

type Pair = readonly [column: string, referenced: string];

function pairsWithoutOwner(key: ForeignKey, child: Guarded, parent: Guarded): Pair[] {
  return key.columns.flatMap((column, at) => {
    const referenced = key.referencedColumns[at];
    if (referenced === undefined || column === child.owned.ownerColumn || referenced === parent.owned.ownerColumn)
      return [];
    return [[column, referenced] as const];
  });
}

async function mixedIn(
  session: Session,
  child: Guarded,
  parent: Guarded,
  key: ForeignKey,
  pairs: readonly Pair[],
): Promise<Finding[]> {
  const same = pairs.map(([column, referenced]) => `p.${identifier(referenced)} = c.${identifier(column)}`);
  const owned = `p.${identifier(parent.owned.ownerColumn)} = c.${identifier(child.owned.ownerColumn)}`;
  const shown = child.owned.key.length > 0 ? child.owned.key : pairs.map(([column]) => column);
  const found = await session.read<{ key: string; total: string }>(
    `select concat_ws(', ', ${shown.map((column) => `c.${identifier(column)}::text`).join(', ')}) as key, count(*) over () as total
from ${child.label} c
where ${pairs.map(([column]) => `c.${identifier(column)} is not null`).join(' and ')}
  and not exists (select from ${parent.label} p where ${[...same, owned].join(' and ')})
order by 1 limit ${keysNamed}`,
  );
  const total = Number(found[0]?.total ?? 0);
  if (total === 0) return [];
  const named = found.map((row) => row.key).join(', ');
  return [
    fail(
      'owner-of-parent',
      child.label,
      `${rows(total)} whose owner is not that of what ${identifier(key.name)} (${columnList(pairs.map(([column]) => column))}) refers to in ${parent.label}: ${named}${total > found.length ? ', …' : ''}`,
      'Give both ends one owner with `ringfence assign`.',
    ),
  ];
}

function rows(count: number): string {
  return count === 1 ? '1 row' : `${count} rows`;
}
