/** Something happens while a statement runs: it is held by a lock, table by table, so that it is sure to run then. */
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { Random } from '../fuzz/random.ts';
import type { ProofContext } from '../part.ts';
import { disturb, type Found, finalFaults, type Undisturbed, undisturbed } from './disturb.ts';
import { outage } from './judge.ts';
import { type Disturbed, requests } from './requests.ts';
import { openStage, type Stage, type StageOptions } from './stage.ts';

const happenings = ['cancel', 'kill', 'gone', 'statement timeout', 'lock timeout'] as const;
type Happening = (typeof happenings)[number];

const tables = {
  short: ['users', 'tasks', 'user_access_log'],
  full: ['users', 'projects', 'tasks', 'task_labels', 'idempotency_keys', 'user_access_log'],
} as const;
/** Timeouts take their time: they are waited for at one table that is read and written, and at one behind the write. */
const timedOutAt = new Set<string>(['tasks', 'user_access_log']);
const timeoutMs = 700;
const patienceMs = 15_000;

/** @param milliseconds ends it; what is left of the shuffled list then is left */
export async function happenDuring(context: ProofContext, options: StageOptions, milliseconds: number): Promise<Found> {
  const stage = await openStage(context, options);
  const locker = new pg.Client({ connectionString: stage.world.server.databaseUrl });
  await locker.connect();
  const faults: string[] = [];
  const known = new Map<Disturbed, readonly Undisturbed[]>();
  const cases = casesFor(context.size);
  let [tried, hit] = [0, 0];
  try {
    const started = performance.now();
    for (const one of new Random(context.seed).shuffled(cases)) {
      if (context.signal.aborted || performance.now() - started > milliseconds) break;
      const expected = known.get(one.request) ?? (await undisturbed(stage, one.request));
      known.set(one.request, expected);
      const outcome = await happenOnce(stage, locker, one, expected);
      tried += 1;
      if (outcome.held) hit += 1;
      const name = `${one.request.name}, ${one.happening} while it waits for ${one.table}`;
      faults.push(...outcome.faults.map((fault) => `${name}: ${fault}`));
    }
    faults.push(...(await finalFaults(stage)));
  } finally {
    await locker.end();
    await stage.close();
  }
  return { figures: { 'running statements disturbed': hit, 'tables locked': `${tried} of ${cases.length}` }, faults };
}

function casesFor(size: ProofContext['size']): Case[] {
  const chosen = requests.filter(({ short }) => short || size === 'full');
  return chosen.flatMap((request, turn) =>
    tables[size].flatMap((table, place) => {
      const possible = happenings.filter((happening) => !happening.endsWith('timeout') || timedOutAt.has(table));
      // At the short size another thing at each table, and other ones at the next request's.
      const some = size === 'full' ? possible : [possible[(turn + place) % possible.length] ?? 'kill'];
      return some.map((happening) => ({ request, table, happening }));
    }),
  );
}

interface Case {
  readonly request: Disturbed;
  readonly table: string;
  readonly happening: Happening;
}

async function happenOnce(
  stage: Stage,
  locker: pg.Client,
  { request, table, happening }: Case,
  known: readonly Undisturbed[],
) {
  await stage.restore();
  const timeout = happening.endsWith('timeout') ? happening.replace(' ', '_') : undefined;
  if (timeout) await limit(stage, `set ${timeout} = '${timeoutMs}ms'`);
  const leaving = new AbortController();
  let held = false;
  await locker.query(`begin; lock table ${table} in access exclusive mode`);
  const outcome = await disturb(stage, {
    request,
    known,
    leaving,
    problems: happening === 'lock timeout' ? [...outage, 'conflict'] : outage,
    async happen(ask) {
      let answered = false;
      const one = ask.one().finally(() => {
        answered = true;
      });
      const pid = await waiting(stage, () => answered);
      held = pid !== undefined;
      if (pid !== undefined) await strike(happening, pid, { stage, leaving, until: one });
      await locker.query('rollback');
      // The other comes when the way is free; at a pool of one, on the same connection.
      const other = await ask.other();
      return { one: await one, other };
    },
  });
  if (timeout) await limit(stage, `reset ${timeout}`);
  return { held, faults: outcome.faults };
}

/** For connections that are made from now on. */
async function limit(stage: Stage, change: string): Promise<void> {
  const { database } = stage.world;
  const { rows } = await database.query<{ name: string }>('select quote_ident(current_database()) as name');
  await database.query(`alter role ringfence_app in database ${rows[0]?.name} ${change}`);
  await stage.emptyPool();
}

/** @returns the backend that waits for the lock; undefined when the request does without the table */
async function waiting(stage: Stage, answered: () => boolean): Promise<number | undefined> {
  const deadline = performance.now() + patienceMs;
  while (!answered() && performance.now() < deadline) {
    const { rows } = await stage.world.database.query<{ pid: number }>(
      `select pid from pg_stat_activity where datname = current_database() and usename = 'ringfence_app'
         and wait_event_type = 'Lock'`,
    );
    if (rows[0]) return rows[0].pid;
    await delay(1);
  }
  return undefined;
}

async function strike(
  happening: Happening,
  pid: number,
  { stage, leaving, until }: { stage: Stage; leaving: AbortController; until: Promise<unknown> },
): Promise<void> {
  const { database } = stage.world;
  if (happening === 'cancel') await database.query('select pg_cancel_backend($1)', [pid]);
  else if (happening === 'kill') await database.query('select pg_terminate_backend($1, 5000)', [pid]);
  else if (happening === 'gone') leaving.abort();
  // The lock is let go when the answer has come: cancelling takes a moment.
  await until;
}
