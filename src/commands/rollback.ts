/** `ringfence rollback`: admits the old application again, or takes the plan back, and shows that nothing was lost. */
import { setTimeout as delay } from 'node:timers/promises';
import { monotonicMs } from '../clock.ts';
import type { Config } from '../config.ts';
import { problem } from '../errors.ts';
import { readAllRows } from '../rollout/all-rows.ts';
import { readCatalog } from '../rollout/catalog.ts';
import { type Connection, messageOf, withConnection } from '../rollout/connection.ts';
import { backTo, isOneTransaction, type Phase, type Plan, type Step } from '../rollout/plan.ts';
import { durationText } from '../rollout/preflight/amounts.ts';
import { rollbackPlan } from '../rollout/run/runner.ts';
import type { RunSummary } from '../rollout/run/tally.ts';
import { everFrozen, readFrozenPlan, readLedger, recordEvent } from '../rollout/state.ts';
import { hashTables, type TableHash } from '../rollout/table-hash.ts';
import { sayStopping } from './apply.ts';
import { withOwnedDatabase } from './database.ts';
import { interruptible } from './interrupt.ts';
import { printJson, table } from './print.ts';
import { progressTo, thousands } from './progress.ts';

export interface RollbackFlags {
  readonly json?: boolean;
  /** app: policies let the old application in again; database: the plan's inverses. */
  readonly level: 'app' | 'database';
  /** Level database: the phase to be left standing; without it everything goes. */
  readonly to?: Phase;
  readonly acceptDataLoss?: boolean;
  /** Level database: yes, take the isolation away. */
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  /** False with --no-compare: tables are not read before and after. */
  readonly compare?: boolean;
  /** Level app: our own server, whose /health is asked. */
  readonly url?: string;
}

interface Comparison {
  readonly table: string;
  readonly before: TableHash;
  readonly after: TableHash;
  readonly equal: boolean;
  /** Rows that others wrote meanwhile, as far as Postgres' statistics know. */
  readonly writes: number;
}

/** @returns exit code 1 when a table's content is another one and nobody else has written to it */
export async function runRollback(config: Config, flags: RollbackFlags): Promise<0 | 1> {
  const { level, json = false } = flags;
  if (level === 'app' && flags.to !== undefined)
    throw problem('usage_error', '--to: goes with --level database; level app ends at the cut-over');
  if (level === 'database' && flags.url !== undefined) throw problem('usage_error', '--url: goes with --level app');
  return withOwnedDatabase(config, async ({ ownerUrl }) => {
    const [plan, frozenOnce] = await withConnection(ownerUrl, 'rollback', async (client) => [
      await readFrozenPlan(client),
      await everFrozen(client),
    ]);
    // A rollback that was killed behind its last step is run again: it then has reached its end.
    if (plan === null && level === 'database' && !frozenOnce)
      throw problem('rollout_refused', 'No plan is in force: there is nothing to take back.');
    const to = level === 'app' ? 'cutover' : (flags.to ?? null);
    if (plan !== null && to !== null && isOneTransaction(plan)) {
      throw problem(
        'rollout_refused',
        'The plan in force is that of a script in one transaction, which has no part for an old application: it goes back as a whole, with `ringfence rollback --level database --yes`.',
      );
    }
    if (flags.dryRun) {
      showSteps(plan === null ? [] : await standing(ownerUrl, plan, to), json);
      return 0;
    }
    if (level === 'database' && flags.yes !== true)
      throw problem('usage_error', 'This takes isolation away. See what with --dry-run, and say --yes to do it.');
    const outcome = plan === null ? null : await takeBack(ownerUrl, plan, to, flags);
    const health = level === 'app' ? await healthOf(flags.url) : null;
    if (json) printJson({ summary: outcome?.summary ?? null, comparisons: outcome?.comparisons ?? [], health });
    else console.log([...outcomeText(outcome), ...(level === 'app' ? applicationText(health) : [])].join('\n'));
    return outcome?.comparisons.some(({ equal, writes }) => !equal && writes === 0) ? 1 : 0;
  });
}

interface Outcome {
  readonly summary: RunSummary;
  readonly comparisons: readonly Comparison[];
}

async function takeBack(url: string, plan: Plan, to: Phase | null, flags: RollbackFlags): Promise<Outcome> {
  const { compare = true, acceptDataLoss = false } = flags;
  const before = compare ? await snapshot(url, plan) : null;
  const summary = await interruptible(sayStopping, (signal) =>
    rollbackPlan(url, plan, { to, acceptDataLoss, signal, onEvent: progressTo(process.stderr, monotonicMs) }),
  );
  const comparisons = before === null ? [] : await compareWith(before, url, plan);
  await withConnection(url, 'rollback', (client) => recordEvent(client, 'rollback_compared', { comparisons }));
  return { summary, comparisons };
}

/** Postgres' sessions tell of what they wrote every second while they work, and at the latest when idle for ten. */
const writesKnownMs = 12_000;
const askAgainMs = 500;

/** A difference that nobody is known to have made may be one that is not known yet. */
async function compareWith(
  before: ReadonlyMap<string, Content>,
  url: string,
  plan: Plan,
): Promise<readonly Comparison[]> {
  const after = await snapshot(url, plan);
  const deadline = monotonicMs() + writesKnownMs;
  for (;;) {
    const comparisons = compared(before, after);
    const unexplained = comparisons.filter(({ equal, writes }) => !equal && writes === 0);
    if (unexplained.length === 0 || monotonicMs() > deadline) return comparisons;
    await delay(askAgainMs);
    const labels = unexplained.map(({ table: label }) => label);
    const known = await withConnection(url, 'compare', (client) => writesTo(client, labels));
    for (const [label, writes] of known) {
      const content = after.get(label);
      if (content) after.set(label, { ...content, writes });
    }
  }
}

interface Content {
  readonly hash: TableHash;
  readonly writes: number;
}

/** What the tables held before the rollout and hold still: every column but the one that was added. */
async function snapshot(url: string, plan: Plan): Promise<Map<string, Content>> {
  return withConnection(url, 'compare', async (client) => {
    const catalog = await readCatalog(client);
    const added = plan.ownership.owned.filter(({ adopted }) => !adopted);
    const except = new Map(added.map(({ table: label, ownerColumn }) => [label, [ownerColumn]]));
    const labels = plan.ownership.owned.map(({ table: label }) => label).filter((label) => catalog.tables.has(label));
    return readAllRows(client, async (rowSecurity) => {
      const writes = await writesTo(client, labels);
      const hashes = await hashTables(client, catalog, labels, { except, rowSecurity });
      return new Map([...hashes].map(([label, hash]) => [label, { hash, writes: writes.get(label) ?? 0 }]));
    });
  });
}

async function writesTo(client: Connection, labels: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const { rows } = await client.query<{ label: string; writes: number }>(
    `select u.label, coalesce(sum(s.n_tup_ins + s.n_tup_upd + s.n_tup_del), 0)::float8 as writes
    from unnest($1::text[]) u (label)
    left join lateral (
      select relid::oid from pg_partition_tree(to_regclass(u.label))
      union select to_regclass(u.label)::oid
    ) part on true
    left join pg_stat_all_tables s on s.relid = part.relid
    group by u.label`,
    [labels],
  );
  return new Map(rows.map(({ label, writes }) => [label, writes]));
}

function compared(before: ReadonlyMap<string, Content>, after: ReadonlyMap<string, Content>): Comparison[] {
  return [...before].flatMap(([label, was]) => {
    const is = after.get(label);
    if (!is) return [];
    const equal = was.hash.rows === is.hash.rows && was.hash.hash === is.hash.hash;
    return [{ table: label, before: was.hash, after: is.hash, equal, writes: Math.max(0, is.writes - was.writes) }];
  });
}

async function standing(url: string, plan: Plan, to: Phase | null): Promise<readonly Step[]> {
  const ledger = await withConnection(url, 'rollback', (client) => readLedger(client, plan.hash));
  return backTo(plan, to).filter((step) => (ledger.get(step.id)?.state ?? 'undone') !== 'undone' && step.down !== null);
}

function showSteps(steps: readonly Step[], json: boolean): void {
  if (json) printJson({ steps });
  else if (steps.length === 0) console.log('There is nothing to take back.');
  else console.log(table(steps, ['id', 'title', 'lock']));
}

function outcomeText(outcome: Outcome | null): string[] {
  if (outcome === null) return ['No plan is in force: the database needs no change.'];
  const { summary, comparisons } = outcome;
  const different = comparisons.filter(({ equal }) => !equal);
  return [
    summary.steps === 0
      ? 'There was nothing to take back.'
      : `${summary.steps} ${summary.steps === 1 ? 'step' : 'steps'} taken back in ${durationText(summary.milliseconds)}.`,
    ...(summary.displaced > 0
      ? [`${thousands(summary.displaced)} rows were set aside; they are in ringfence_rollout.displaced_rows.`]
      : []),
    ...(comparisons.length === 0
      ? []
      : [
          `${comparisons.length - different.length} of ${comparisons.length} tables hold in every column what they held.`,
        ]),
    ...different.map(differenceText),
  ];
}

function differenceText({ table: label, before, after, writes }: Comparison): string {
  const rows = before.rows === after.rows ? `${after.rows} rows` : `${before.rows} rows before, ${after.rows} after`;
  return writes === 0
    ? `  ${label}: the content is another one (${rows}), and nobody is known to have written to it.`
    : `  ${label}: ${rows}; it was written to meanwhile (writes counted: ${thousands(writes)}), so that it cannot be compared.`;
}

interface Health {
  readonly url: string;
  /** What the server says of itself: `enforced`, `disabled`; null when it does not answer. */
  readonly isolation: string | null;
  readonly fault: string | null;
}

const healthTimeoutMs = 10_000;

async function healthOf(server: string | undefined): Promise<Health | null> {
  if (server === undefined) return null;
  const url = new URL('/health', server).href;
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(healthTimeoutMs) });
    const body: unknown = await answer.json();
    const isolation = typeof body === 'object' && body !== null && 'isolation' in body ? String(body.isolation) : null;
    return { url, isolation, fault: isolation === null ? `it answered ${answer.status} without saying so` : null };
  } catch (error) {
    return { url, isolation: null, fault: messageOf(error) };
  }
}

function applicationText(health: Health | null): string[] {
  if (health?.isolation === 'disabled')
    return [`${health.url}: isolation is disabled. The application is rolled back.`];
  const asked =
    health === null
      ? []
      : health.isolation === null
        ? [`${health.url}: cannot be asked: ${health.fault}`]
        : [`${health.url}: isolation is ${health.isolation}.`];
  return [
    ...asked,
    '',
    'To roll back the application itself, when it is our own server:',
    '  1. set USER_ISOLATION_ENABLED=false',
    '  2. restart it',
    '  3. GET /health has to say "isolation": "disabled"',
    'An old application can simply be started again.',
  ];
}
