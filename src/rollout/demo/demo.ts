/**
 * The whole of a rollout on a database made for it, with an old application at work all the while: fill, isolate, prove,
 * take back, compare. Whoever calls it shows what happens, and makes and removes the database.
 */
import { monotonicMs } from '../../clock.ts';
import { readCatalog } from '../catalog.ts';
import { withConnection } from '../connection.ts';
import type { Finding } from '../finding.ts';
import { type Phase, type Plan, phases } from '../plan.ts';
import { resolvePlan } from '../resolve-plan.ts';
import type { RolloutConfig } from '../rollout-config.ts';
import { applyPlan, rollbackPlan } from '../run/runner.ts';
import type { RunEvent } from '../run/step-run.ts';
import type { RunSummary } from '../run/tally.ts';
import { hashTables, type TableHash } from '../table-hash.ts';
import { type VerifySummary, verifyDatabase } from '../verify/verify.ts';
import { type BackgroundApplication, startInBackground } from './background.ts';
import { amountsOf, fillLegacyDatabase, type LegacyRole, type LegacyTable, legacyTables } from './legacy-schema.ts';
import { type Attempt, lookAsUsers } from './look.ts';
import type { Change, Figures } from './old-application.ts';

export type Stage = 'fill' | 'before' | 'isolate' | 'verify' | 'look' | 'rollback' | 'compare';

export type DemoEvent =
  | { readonly kind: 'stage'; readonly stage: Stage }
  | { readonly kind: 'stageDone'; readonly stage: Stage; readonly milliseconds: number }
  /** A part of a stage that takes a while and has nothing to show meanwhile. */
  | { readonly kind: 'part'; readonly what: string }
  | { readonly kind: 'run'; readonly event: RunEvent }
  /** Some times a second while the old application is at work. */
  | { readonly kind: 'figures'; readonly figures: readonly Figures[] }
  | { readonly kind: 'attempts'; readonly attempts: readonly Attempt[] };

export interface DemoOptions {
  /** The owner's connection string of an empty database. */
  readonly url: string;
  readonly rows: number;
  /** The old application's log-in, made here. */
  readonly role: LegacyRole;
  readonly onEvent: (event: DemoEvent) => void;
  readonly signal: AbortSignal;
}

export interface TableComparison {
  readonly table: string;
  readonly rowsBefore: string;
  /** Rows that the old application added, less those that it deleted. */
  readonly rowsWritten: string;
  readonly rowsAfter: string;
  /** Rows and content are what they were, plus what the old application was told it has written. */
  readonly equal: boolean;
}

export interface DemoResult {
  readonly rows: number;
  readonly milliseconds: number;
  readonly stages: Readonly<Record<Stage, number>>;
  readonly phases: readonly { readonly phase: Phase; readonly steps: number; readonly milliseconds: number }[];
  readonly apply: RunSummary;
  readonly rollback: RunSummary;
  readonly writers: readonly Figures[];
  readonly writes: number;
  readonly reads: number;
  readonly failed: number;
  readonly longestWriteMs: number;
  readonly longestReadMs: number;
  readonly verify: Omit<VerifySummary, 'ownerless'> & {
    readonly pass: number;
    readonly warn: number;
    readonly fail: number;
    readonly findings: readonly Finding[];
  };
  readonly attempts: readonly Attempt[];
  readonly comparison: readonly TableComparison[];
  readonly equal: boolean;
}

const nothingSaid: RolloutConfig = { tables: {}, shared: [], ignored: [], csv: {} };
const figuresEveryMs = 100;
/** How long the old application is watched before anything happens. */
const beforeMs = 1_500;

/** @throws Problem of what it runs; the reason of `signal` once that is aborted */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const { url, role, signal, onEvent } = options;
  const started = monotonicMs();
  const stages = startStages(options);
  const tally = startPhases();
  const amounts = amountsOf(options.rows);
  await stages.run('fill', () => fillLegacyDatabase(url, amounts, role, (what) => onEvent({ kind: 'part', what })));
  onEvent({ kind: 'part', what: 'a hash of every row, to compare with in the end' });
  const before = await contentOf(url);
  signal.throwIfAborted();
  const application = await startInBackground(urlOf(url, role), amounts);
  const timer = setInterval(() => onEvent({ kind: 'figures', figures: application.figures() }), figuresEveryMs);
  const killed = () => void application.kill();
  signal.addEventListener('abort', killed, { once: true });
  const follow = (event: RunEvent) => {
    if (event.kind === 'step')
      application.during(`${event.step.id}${event.direction === 'down' ? ' (taken back)' : ''}`);
    if (event.kind === 'stepDone' && event.direction === 'up') tally.add(event);
    onEvent({ kind: 'run', event });
  };
  try {
    application.during('before the rollout');
    await stages.run('before', () => passing(beforeMs, signal));
    const plan = await withConnection(url, 'demo', async (client) => (await resolvePlan(client, nothingSaid)).plan);
    const apply = await stages.run('isolate', () => applyPlan(url, plan, { signal, onEvent: follow }));
    application.during('verify');
    const verify = await stages.run('verify', () => verifyIsolated(url, plan));
    const attempts = await stages.run('look', () => lookIn(url, plan));
    onEvent({ kind: 'attempts', attempts });
    const rollback = await stages.run('rollback', () => rollbackPlan(url, plan, { to: null, signal, onEvent: follow }));
    const change = await stopped(application);
    clearInterval(timer);
    const writers = application.figures();
    onEvent({ kind: 'figures', figures: writers });
    const after = await stages.run('compare', () => contentOf(url));
    const comparison = compared(before, change, after);
    return {
      rows: options.rows,
      milliseconds: Math.round(monotonicMs() - started),
      stages: stages.taken(),
      phases: tally.phases(),
      apply,
      rollback,
      writers,
      ...sums(writers),
      verify,
      attempts,
      comparison,
      equal: comparison.every(({ equal }) => equal),
    };
  } finally {
    clearInterval(timer);
    signal.removeEventListener('abort', killed);
    await application.kill();
  }
}

async function stopped(application: BackgroundApplication): Promise<Change> {
  application.during('after the rollout');
  return application.stop();
}

function startStages({ onEvent, signal }: DemoOptions) {
  const taken: Record<Stage, number> = { fill: 0, before: 0, isolate: 0, verify: 0, look: 0, rollback: 0, compare: 0 };
  return {
    async run<T>(stage: Stage, work: () => Promise<T>): Promise<T> {
      signal.throwIfAborted();
      onEvent({ kind: 'stage', stage });
      const began = monotonicMs();
      const result = await work();
      taken[stage] = Math.round(monotonicMs() - began);
      onEvent({ kind: 'stageDone', stage, milliseconds: taken[stage] });
      return result;
    },
    taken: () => taken,
  };
}

function startPhases() {
  const sums = new Map<Phase, { steps: number; milliseconds: number }>();
  return {
    add({ step, milliseconds }: Extract<RunEvent, { kind: 'stepDone' }>) {
      const sum = sums.get(step.phase) ?? { steps: 0, milliseconds: 0 };
      sums.set(step.phase, { steps: sum.steps + 1, milliseconds: sum.milliseconds + milliseconds });
    },
    phases: () =>
      phases.flatMap((phase) => {
        const sum = sums.get(phase);
        return sum ? [{ phase, steps: sum.steps, milliseconds: Math.round(sum.milliseconds) }] : [];
      }),
  };
}

function passing(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

function urlOf(url: string, { name, password }: LegacyRole): string {
  const login = new URL(url);
  login.username = encodeURIComponent(name);
  login.password = encodeURIComponent(password);
  return login.href;
}

const labels: readonly (readonly [LegacyTable, string])[] = [
  ['users', 'public.users'],
  ['projects', 'public.projects'],
  ['tasks', 'public.tasks'],
  ['comments', 'public.comments'],
];

type Content = ReadonlyMap<LegacyTable, TableHash>;

/** Every row, every column that the old application knows. */
async function contentOf(url: string): Promise<Content> {
  return withConnection(url, 'demo compare', async (client) => {
    const catalog = await readCatalog(client);
    for (const [table, label] of labels) {
      const columns = catalog.tables.get(label)?.columns.map(({ name }) => name);
      if (columns?.join() !== legacyTables[table].join())
        throw new Error(`${label} has other columns than it was made with`);
    }
    await client.query('begin isolation level repeatable read read only');
    const hashes = await hashTables(
      client,
      catalog,
      labels.map(([, label]) => label),
    );
    await client.query('commit');
    return new Map(labels.map(([table, label]) => [table, hashes.get(label) ?? { rows: '', hash: '' }]));
  });
}

function compared(before: Content, change: Change, after: Content): TableComparison[] {
  return labels.map(([table, label]) => {
    const was = before.get(table);
    const is = after.get(table);
    const written = change[table] ?? { rows: '0', hash: '0' };
    if (!was || !is) throw new Error(`${label} was not hashed`);
    const expected = { rows: BigInt(was.rows) + BigInt(written.rows), hash: BigInt(was.hash) + BigInt(written.hash) };
    return {
      table: label,
      rowsBefore: was.rows,
      rowsWritten: written.rows,
      rowsAfter: is.rows,
      equal: BigInt(is.rows) === expected.rows && BigInt(is.hash) === expected.hash,
    };
  });
}

function expectationOf({ ownership, extras }: Plan) {
  return { ownership, extras, reached: 'cutover' } as const;
}

async function verifyIsolated(url: string, plan: Plan): Promise<DemoResult['verify']> {
  const { findings, summary } = await withConnection(url, 'demo verify', (client) =>
    verifyDatabase(client, expectationOf(plan)),
  );
  const { ownerless: _, ...counts } = summary;
  const count = (severity: Finding['severity']) => findings.filter((finding) => finding.severity === severity).length;
  const shown = findings.filter(({ severity }) => severity !== 'pass');
  return { ...counts, pass: count('pass'), warn: count('warn'), fail: count('fail'), findings: shown };
}

async function lookIn(url: string, plan: Plan): Promise<Attempt[]> {
  return withConnection(url, 'demo users', (client) => lookAsUsers(client, expectationOf(plan)));
}

function sums(figures: readonly Figures[]) {
  const of = (kind: Figures['kind']) => figures.filter((one) => one.kind === kind);
  const done = (kind: Figures['kind']) => of(kind).reduce((sum, one) => sum + one.done, 0);
  const longest = (kind: Figures['kind']) => Math.round(Math.max(0, ...of(kind).map(({ longestMs }) => longestMs)));
  return {
    writes: done('write'),
    reads: done('read'),
    failed: figures.reduce((sum, { failed }) => sum + failed, 0),
    longestWriteMs: longest('write'),
    longestReadMs: longest('read'),
  };
}
