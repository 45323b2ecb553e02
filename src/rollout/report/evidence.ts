/** What the database itself remembers and shows of its rollout: the evidence that a report's criteria rest on. */
import type { ClientBase } from 'pg';
import { z } from 'zod';
import type { Finding } from '../finding.ts';
import { identifier, literal } from '../identifier.ts';
import { type IndexUse, observeIndexes } from '../monitor/indexes.ts';
import { subjectOf } from '../monitor/subject.ts';
import type { OwnedTable } from '../ownership.ts';
import { type Phase, type Plan, phases } from '../plan.ts';
import { type FrozenPlan, type LedgerEntry, readEvents, readFrozen, readLedger } from '../state.ts';
import { type Expectation, systemRole } from '../verify/expectation.ts';
import type { Verification } from '../verify/verify.ts';

const faults = z.array(z.looseObject({ check: z.string(), object: z.string().optional() }));

const backup = z.looseObject({
  method: z.string(),
  finishedAt: z.string(),
  bytes: z.number(),
  tables: z.number(),
  rows: z.string(),
  restoreTest: z.enum(['passed', 'failed', 'skipped']),
  failed: faults,
});
const verified = z.looseObject({
  fail: z.number(),
  warn: z.number(),
  pass: z.number(),
  tables: z.number(),
  probedTables: z.number(),
  probes: z.number(),
  faults,
});
const assigned = z.looseObject({ by: z.string(), rows: z.record(z.string(), z.number()) });
const ran = z.looseObject({
  steps: z.number(),
  milliseconds: z.number(),
  rows: z.number(),
  walBytes: z.number().nullable(),
  longestLockMs: z.number(),
  longestLockStep: z.string().nullable(),
});
const compared = z.looseObject({
  comparisons: z.array(z.looseObject({ table: z.string(), equal: z.boolean(), writes: z.number() })),
});

interface Dated<T> {
  readonly at: Date;
  readonly detail: T;
}

/** Oldest first; what is not of the expected form is left out. */
export interface History {
  readonly backups: readonly Dated<z.infer<typeof backup>>[];
  readonly verifications: readonly Dated<z.infer<typeof verified>>[];
  readonly assignments: readonly Dated<z.infer<typeof assigned>>[];
  readonly applies: readonly Dated<z.infer<typeof ran>>[];
  readonly rollbacks: readonly Dated<z.infer<typeof ran>>[];
  readonly comparisons: readonly Dated<z.infer<typeof compared>>[];
}

export interface PhaseFigures {
  readonly phase: Phase;
  readonly steps: number;
  readonly done: number;
  readonly milliseconds: number;
  readonly rows: number;
  readonly longestLockMs: number;
  readonly longestLockStep: string | null;
}

export interface TableFigures {
  readonly table: string;
  readonly ownerColumn: string;
  readonly rows: number;
  readonly owners: number;
  /** Of the owner who has most; quarantine aside. */
  readonly mostRows: number;
  readonly quarantined: number;
  /** The owner column is there, uuid and NOT NULL. */
  readonly ownerInPlace: boolean;
}

export interface Evidence {
  readonly database: string;
  readonly serverVersion: number;
  readonly at: Date;
  readonly expectation: Expectation | null;
  readonly plan: FrozenPlan | null;
  readonly history: History;
  readonly phases: readonly PhaseFigures[];
  /** Steps of the plan that are done and have an inverse, of those that are done and change anything. */
  readonly inverses: { readonly done: number; readonly withInverse: number };
  readonly tables: readonly TableFigures[];
  readonly indexes: IndexUse | null;
  /** A fresh one; null when it was not wanted. */
  readonly verification: (Verification & { readonly findings: readonly Finding[] }) | null;
}

/** @param verification what `verify` says now */
export async function gather(
  client: ClientBase,
  expectation: Expectation | null,
  verification: Verification | null,
): Promise<Evidence> {
  const about = await client.query<{ database: string; version: number; at: Date }>(
    `select current_database()::text as database, current_setting('server_version_num')::int as version, clock_timestamp() as at`,
  );
  const plan = await readFrozen(client);
  const ledger = plan === null ? new Map<string, LedgerEntry>() : await readLedger(client, plan.plan.hash);
  const owned = expectation?.ownership.owned ?? [];
  const subject = expectation === null ? null : await subjectOf(client, expectation.ownership, false);
  const [row] = about.rows;
  return {
    database: row?.database ?? '',
    serverVersion: row?.version ?? 0,
    at: row?.at ?? new Date(0),
    expectation,
    plan,
    history: await readHistory(client),
    phases: plan === null ? [] : phases.map((phase) => figuresOf(plan.plan, phase, ledger)),
    inverses: inversesOf(plan?.plan, ledger),
    tables: await tablesOf(client, owned, expectation?.ownership.quarantineOwner ?? ''),
    indexes: subject === null ? null : await observeIndexes(client, subject),
    verification,
  };
}

async function readHistory(client: ClientBase): Promise<History> {
  const events = await readEvents(client);
  function of<T>(kinds: readonly string[], shape: z.ZodType<T>): Dated<T>[] {
    return events
      .filter(({ kind }) => kinds.includes(kind))
      .flatMap(({ at, detail }) => {
        const parsed = shape.safeParse(detail);
        return parsed.success ? [{ at, detail: parsed.data }] : [];
      });
  }
  return {
    backups: of(['backup', 'backup-verify'], backup),
    verifications: of(['verify'], verified),
    assignments: of(['assign'], assigned),
    applies: of(['apply'], ran),
    rollbacks: of(['rollback'], ran),
    comparisons: of(['rollback_compared'], compared),
  };
}

const detailOf = z.looseObject({ rows: z.number().default(0), lockMs: z.number().default(0) });

function figuresOf(plan: Plan, phase: Phase, ledger: ReadonlyMap<string, LedgerEntry>): PhaseFigures {
  const steps = plan.steps.filter((step) => step.phase === phase && step.up !== null);
  let [done, milliseconds, rows, longestLockMs] = [0, 0, 0, 0];
  let longestLockStep: string | null = null;
  for (const { id } of steps) {
    const entry = ledger.get(id);
    if (entry?.state !== 'done') continue;
    done += 1;
    milliseconds += entry.finishedAt === null ? 0 : entry.finishedAt.getTime() - entry.startedAt.getTime();
    const detail = detailOf.safeParse(entry.detail).data ?? { rows: 0, lockMs: 0 };
    rows += detail.rows;
    if (detail.lockMs <= longestLockMs) continue;
    longestLockMs = detail.lockMs;
    longestLockStep = id;
  }
  return {
    phase,
    steps: steps.length,
    done,
    milliseconds: Math.max(0, milliseconds),
    rows,
    longestLockMs,
    longestLockStep,
  };
}

/** A step that only looks has nothing to take back. */
function inversesOf(plan: Plan | undefined, ledger: ReadonlyMap<string, LedgerEntry>): Evidence['inverses'] {
  const looks = ['check', 'shadow', 'validate', 'backfill', 'reconcile'];
  const done = (plan?.steps ?? []).filter(
    (step) => step.up !== null && !looks.includes(step.up.kind) && ledger.get(step.id)?.state === 'done',
  );
  return { done: done.length, withInverse: done.filter(({ down }) => down !== null).length };
}

async function tablesOf(client: ClientBase, owned: readonly OwnedTable[], quarantine: string): Promise<TableFigures[]> {
  await client.query('begin isolation level repeatable read');
  try {
    await seeAllRows(client);
    const figures: TableFigures[] = [];
    for (const { table, ownerColumn } of owned)
      figures.push(await tableFigures(client, table, ownerColumn, quarantine));
    return figures;
  } finally {
    await client.query('rollback');
  }
}

/** Policies bind an owner who is no superuser: then the rows are seen as the system role, or not at all. */
async function seeAllRows(client: ClientBase): Promise<void> {
  const { rows } = await client.query<{ above: boolean }>(
    'select rolsuper or rolbypassrls as above from pg_roles where rolname = current_user',
  );
  if (rows[0]?.above !== true) await client.query(`grant ${systemRole} to current_user`);
}

async function tableFigures(
  client: ClientBase,
  table: string,
  ownerColumn: string,
  quarantine: string,
): Promise<TableFigures> {
  const column = await client.query<{ there: boolean; right: boolean }>(
    `select count(*) > 0 as there, coalesce(bool_and(atttypid = 'uuid'::regtype and attnotnull), false) as right
    from pg_attribute where attrelid = to_regclass($1) and attname = $2 and attnum > 0 and not attisdropped`,
    [table, ownerColumn],
  );
  const nothing = { table, ownerColumn, rows: 0, owners: 0, mostRows: 0, quarantined: 0, ownerInPlace: false };
  if (column.rows[0]?.there !== true) return nothing;
  const isQuarantine = `owner = ${literal(quarantine)}`;
  const counts = await client.query<Omit<TableFigures, 'table' | 'ownerColumn' | 'ownerInPlace'>>(
    `select coalesce(sum(n), 0)::float8 as rows, (count(*) filter (where not ${isQuarantine}))::float8 as owners,
      coalesce(max(n) filter (where not ${isQuarantine}), 0)::float8 as "mostRows",
      coalesce(sum(n) filter (where ${isQuarantine}), 0)::float8 as quarantined
    from (select ${identifier(ownerColumn)}::text as owner, count(*) as n from ${table} group by 1) g`,
  );
  return { ...nothing, ...counts.rows[0], ownerInPlace: column.rows[0].right };
}
