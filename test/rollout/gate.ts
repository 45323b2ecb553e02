/**
 * Holds the command line at a chosen entry of its ledger, so that it can be killed exactly there: a trigger on the ledger,
 * planted by the test, sleeps inside the very transaction that makes the entry. The program knows nothing of it.
 *
 * An entry `running` stands between two steps: the one before is done, this one has not begun. An entry `done` or `undone`
 * is the end of a step's own transaction: killed there, the step's work is lost with its entry, or is there without it.
 */
import type pg from 'pg';
import { installState } from '../../src/rollout/state.ts';
import type { Running } from './command.ts';
import type { Stage } from './stage.ts';

/** An entry of the ledger. */
export interface Point {
  readonly step: string;
  readonly state: string;
}

const sleepSeconds = 60;

const plantSql = `
  create table if not exists ringfence_rollout.test_seen (at bigint generated always as identity, step text, state text);
  create table if not exists ringfence_rollout.test_stop (step text, state text);
  create or replace function ringfence_rollout.test_gate() returns trigger language plpgsql as $$
    begin
      if exists (select from ringfence_rollout.test_stop s where s.step = new.step_id and s.state = new.state) then
        perform pg_catalog.pg_sleep(${sleepSeconds});
      end if;
      insert into ringfence_rollout.test_seen (step, state) values (new.step_id, new.state);
      return null;
    end $$;
  create or replace trigger test_gate after insert or update on ringfence_rollout.steps
    for each row execute function ringfence_rollout.test_gate();
`;

/** Makes the ledger, as the first run would, and plants the trigger. */
export async function plantGate(stage: Stage): Promise<void> {
  await stage.asOwner(async (client) => {
    await installState(client);
    await client.query(plantSql);
  });
}

/** The entries that were made since the last time, in order, but for steps that do nothing that way. */
export async function takeSeen(stage: Stage): Promise<readonly Point[]> {
  return stage.asOwner(async (client) => {
    const { rows } = await client.query<Point>(`
      select s.step, s.state
      from ringfence_rollout.test_seen s
      where exists (
        select from ringfence_rollout.plans p, jsonb_array_elements(p.document -> 'steps') planned
        where planned ->> 'id' = s.step and planned ->> case s.state when 'undone' then 'down' else 'up' end is not null
      )
      order by s.at`);
    await client.query('truncate ringfence_rollout.test_seen');
    return rows;
  });
}

/** One command, also where the machine has other things to do. */
const deadlineMs = 300_000;

/** Starts a command and waits until it is held at the point. @returns null when it ended well without coming there */
export async function heldAt(stage: Stage, point: Point, args: readonly string[]): Promise<Running | null> {
  return stage.asOwner(async (client) => {
    await client.query('insert into ringfence_rollout.test_stop values ($1, $2)', [point.step, point.state]);
    const running = stage.start(...args);
    let ended = false;
    void running.outcome.then(() => {
      ended = true;
    });
    const end = Date.now() + deadlineMs;
    while (!ended && !(await isHeld(client))) {
      if (Date.now() > end) running.child.kill('SIGKILL');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    if (!ended) return running;
    await client.query('delete from ringfence_rollout.test_stop');
    const { signal, code, stdout, stderr } = await running.outcome;
    if (code === 0) return null;
    throw new Error(
      `\`${args.join(' ')}\`, to be held at ${point.step} (${point.state}), ended with ${signal ?? code}\n${stdout}\n${stderr}`,
    );
  });
}

/** Starts a command and kills it with SIGKILL at the point. @returns false when it ended without coming there */
export async function killAt(stage: Stage, point: Point, args: readonly string[]): Promise<boolean> {
  const running = await heldAt(stage, point, args);
  if (running === null) return false;
  running.child.kill('SIGKILL');
  await running.outcome;
  await letGo(stage);
  return true;
}

/** The next command is not held. What still sleeps ends, as it would within a second without its client. */
export async function letGo(stage: Stage): Promise<void> {
  await stage.asOwner((client) =>
    client.query(`delete from ringfence_rollout.test_stop;
      select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`),
  );
}

async function isHeld(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query(
    `select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'`,
  );
  return rows.length > 0;
}

/** Kills a command after some time, wherever it is then. @returns false when it had ended well before */
export async function killAfter(stage: Stage, milliseconds: number, args: readonly string[]): Promise<boolean> {
  const { child, outcome } = stage.start(...args);
  const timer = setTimeout(() => child.kill('SIGKILL'), milliseconds);
  const { signal, code, stdout, stderr } = await outcome;
  clearTimeout(timer);
  if (signal === 'SIGKILL') return true;
  if (code === 0) return false;
  throw new Error(
    `\`${args.join(' ')}\`, to be killed after ${milliseconds} ms, ended with ${code}\n${stdout}\n${stderr}`,
  );
}
