/**
 * Behind PgBouncer in transaction mode: the two users' transactions alternate on one connection to Postgres, whose
 * process nobody tells the server. Everything must be answered as without it.
 */
import { appRole, roleUrl, systemRole } from '../../../../src/database/provision.ts';
import { testSecret } from '../../../support/templates.ts';
import type { ProofContext } from '../part.ts';
import { type CutsSize, strikeEverywhere } from './cuts.ts';
import { type Found, finalFaults, undisturbed } from './disturb.ts';
import { callerOf, leaveThings, useDeadHandles } from './handles.ts';
import { asReply, judge } from './judge.ts';
import { type PgBouncer, pgbouncerVersion, startPgbouncer } from './pgbouncer-process.ts';
import { callOf, requests } from './requests.ts';
import { openStage, type Stage } from './stage.ts';

export interface PgbouncerSize {
  readonly strikes: CutsSize;
  readonly requestsEach: number;
}

const name = 'PgBouncer, transaction mode';

export async function goThroughPgbouncer(context: ProofContext, size: PgbouncerSize): Promise<Found> {
  if (pgbouncerVersion() === undefined) {
    const skipped = "skipped: there is no pgbouncer in PATH (Debian's package of that name has it)";
    context.say(`faults: ${name}: ${skipped}`);
    return { figures: { [name]: skipped }, faults: [] };
  }
  const logins = ([appRole, systemRole] as const).map((role) => roleUrl(context.postgresUrl, role, testSecret));
  const pgbouncer = await startPgbouncer(logins, 1);
  try {
    return await through(context, pgbouncer, size);
  } finally {
    await pgbouncer.stop();
  }
}

async function through(context: ProofContext, pgbouncer: PgBouncer, size: PgbouncerSize): Promise<Found> {
  const where = { poolSize: 4, beyond: pgbouncer.through };
  const stage = await openStage(context, where);
  const faults: string[] = [];
  const figures: Record<string, number | string> = { [name]: `version ${pgbouncer.version}` };
  try {
    faults.push(...(await pidIsHidden(stage)));
    const interleaved = await interleave(stage, size.requestsEach);
    const handles = await useDeadHandles(stage);
    const left = await leaveThings(stage);
    const same = await asWithout(context, stage);
    for (const found of [interleaved, handles, left, same]) {
      faults.push(...found.faults);
      Object.assign(figures, prefixed(found));
    }
    faults.push(...(await finalFaults(stage)));
  } finally {
    await stage.close();
  }
  // Processes go by numbers of its own here, so nobody can be told to kill or cancel one.
  const struck = await strikeEverywhere(context, size.strikes, where, ['cut', 'gone', 'stall', 'abort']);
  Object.assign(figures, prefixed(struck));
  return { figures, faults: [...faults, ...struck.faults].map((fault) => `behind PgBouncer: ${fault}`) };
}

const prefixed = ({ figures }: Found) =>
  Object.fromEntries(Object.entries(figures).map(([what, figure]) => [`PgBouncer: ${what}`, figure]));

/** The identity is bound to time alone, as documented, and not to a process that it never was. */
async function pidIsHidden(stage: Stage): Promise<string[]> {
  const [one] = stage.pair;
  const { rows } = await stage.world.server.isolation.sqlAs(
    callerOf(one),
    "select split_part(current_setting('ringfence.identity'), '.', 3) as pid",
    { write: false },
  );
  return rows[0]?.pid === '0' ? [] : [`the identity names process ${String(rows[0]?.pid)}`];
}

/** Both at once, and all of it on one backend. */
async function interleave(stage: Stage, requestsEach: number): Promise<Found> {
  const read = { name: 'GET /api/tasks' };
  const known = await undisturbed(stage, read);
  const faults: string[] = [];
  await Promise.all(
    stage.pair.flatMap((actor, i) =>
      Array.from({ length: requestsEach }, async () => {
        const reply = await asReply(stage.send(actor, callOf(read, actor)));
        faults.push(...judge(reply, known[i]?.answer ?? '', { stage, actor, problems: [] }));
      }),
    ),
  );
  const { rows } = await stage.world.database.query<{ backends: number }>(
    `select count(*) as backends from pg_stat_activity
     where datname = current_database() and usename = 'ringfence_app'`,
  );
  if (rows[0]?.backends !== 1) faults.push(`${rows[0]?.backends} connections to Postgres, and there should be one`);
  return { figures: { 'interleaved requests on one backend': 2 * requestsEach }, faults };
}

/** Each request, here and where there is no pooler: answers and rows are the same. */
async function asWithout(context: ProofContext, stage: Stage): Promise<Found> {
  const direct = await openStage(context, { poolSize: 4 });
  const faults: string[] = [];
  try {
    for (const request of requests) {
      const [here, there] = await Promise.all([undisturbed(stage, request), undisturbed(direct, request)]);
      if (JSON.stringify(here) !== JSON.stringify(there)) {
        faults.push(`${request.name} is answered\n${here[0]?.answer}\n--- and without it\n${there[0]?.answer}`);
      }
    }
  } finally {
    await direct.close();
  }
  return { figures: { 'requests compared with a world without': requests.length }, faults };
}
