/** `ringfence demo`: a rollout from its beginning to its end, in front of you, with nothing to set up. */
import { monotonicMs } from '../clock.ts';
import type { Config } from '../config.ts';
import { problem } from '../errors.ts';
import { type DemoResult, runDemo as runCourse } from '../rollout/demo/demo.ts';
import { amountsOf } from '../rollout/demo/legacy-schema.ts';
import { bytesText, durationText } from '../rollout/preflight/amounts.ts';
import { type DemoDatabase, openDatabaseBeside, openOwnDatabase } from './demo-database.ts';
import { demoView, figuresText } from './demo-view.ts';
import { interruptible } from './interrupt.ts';
import { printJson, table, visible } from './print.ts';
import { thousands } from './progress.ts';

export interface DemoFlags {
  readonly json?: boolean;
  /** All tables together. */
  readonly rows?: number;
  /** A new database in the server of DATABASE_URL, instead of a Postgres of its own. */
  readonly here?: boolean;
  /** Leave the database there when it is over. */
  readonly keep?: boolean;
}

const rowsDefault = 1_000_000;

const say = (text: string) => process.stderr.write(`${text}\n`);

/**
 * @param config asked for with `here` alone: the demo itself needs none
 * @returns exit code 1 when anything came out otherwise than it should
 */
export async function runDemo(config: () => Config, flags: DemoFlags): Promise<0 | 1> {
  const { json = false, rows = rowsDefault, here = false, keep = false } = flags;
  const ownerUrl = here ? ownerUrlOf(config()) : null;
  say(introduction(rows, ownerUrl === null));
  return interruptible(
    () => say('Ending, and removing what was made …'),
    async (signal) => {
      const database = ownerUrl === null ? await openOwnDatabase(rows, say) : await openDatabaseBeside(ownerUrl);
      let kept = false;
      try {
        const result = await untilInterrupted(signal, course(database, rows, signal));
        if (json) printJson({ ...result, ...(keep ? { url: database.url } : {}) });
        else console.log(summaryText(result));
        if (keep && database.dataDir === null) kept = true;
        if (keep) say(keptText(database));
        if (keep && !kept) await interrupted(signal);
        return isWell(result) ? 0 : 1;
      } finally {
        if (!kept) await database.remove();
      }
    },
  );
}

function ownerUrlOf({ database }: Config): string {
  const url = database.kind === 'external' ? database.ownerUrl : undefined;
  if (url === undefined)
    throw problem('usage_error', '--here: needs DATABASE_URL, with a log-in that may make databases');
  return url;
}

async function course(database: DemoDatabase, rows: number, signal: AbortSignal): Promise<DemoResult> {
  const view = demoView(process.stderr, monotonicMs);
  try {
    const { url, role } = database;
    return await runCourse({ url, rows, role, signal, onEvent: view.show });
  } finally {
    view.end();
  }
}

/** What is under way is not waited for: the removal of its database ends it. */
async function untilInterrupted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const stop = Promise.withResolvers<never>();
  const over = () => stop.reject(problem('rollout_failed', 'Interrupted; what was made is removed.'));
  signal.addEventListener('abort', over, { once: true });
  stop.promise.catch(() => {});
  work.catch(() => {});
  try {
    return await Promise.race([stop.promise, work]);
  } finally {
    signal.removeEventListener('abort', over);
  }
}

function interrupted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    // Nothing else keeps the process.
    const timer = setInterval(() => {}, 60_000);
    const over = () => {
      clearInterval(timer);
      resolve();
    };
    if (signal.aborted) over();
    else signal.addEventListener('abort', over, { once: true });
  });
}

function introduction(rows: number, own: boolean): string {
  const amounts = amountsOf(rows);
  return `A database as an application without isolation would have it is made in ${own ? 'a temporary Postgres of its own' : 'a new database of that server'}:
${thousands(rows)} rows in ${Object.keys(amounts).length} tables, integer keys, an owner on projects alone. While that application goes on
reading and writing with its own log-in and SQL, the database is
  1. isolated: each row gets its owner, then indexes, references and policies, in phases
  2. proved: \`verify\`, and two users who look around and try to be one another
  3. taken back: and every row compared with what the application was told it wrote
How long it takes depends on the machine: a million rows took 173 s on two cores that had other things to do
as well. Each line begins with the time that has passed.
Nothing else is touched, and Ctrl-C removes what was made.
`;
}

function isWell(result: DemoResult): boolean {
  const { failed, equal, verify, attempts } = result;
  return failed === 0 && equal && verify.fail === 0 && attempts.every(({ asItShould }) => asItShould);
}

function summaryText(result: DemoResult): string {
  const { apply, rollback, verify, attempts, comparison } = result;
  const well = attempts.filter(({ asItShould }) => asItShould).length;
  const equal = comparison.filter((one) => one.equal).length;
  const wal = (bytes: number | null) => (bytes === null ? '' : `, ${bytesText(bytes)} of WAL (by everybody)`);
  const pairs: [string, string][] = [
    ['Isolated', `${thousands(result.rows)} rows in ${durationText(result.stages.isolate)}: ${phasesText(result)}`],
    ['', `${apply.steps} steps, ${thousands(apply.rows)} rows changed${wal(apply.walBytes)}`],
    ['Longest lock', `${apply.longestLockMs} ms (${visible(apply.longestLockStep ?? 'none')})`],
    ['Meanwhile', `${thousands(result.writes)} writes, ${thousands(result.reads)} reads, ${result.failed} failed`],
    ['', `longest write ${durationText(result.longestWriteMs)}, longest read ${durationText(result.longestReadMs)}`],
    [
      'Verified',
      `${verify.fail} to put right, ${verify.warn} to know of; ${verify.probes} probes on ${verify.probedTables} tables`,
    ],
    ...[...Map.groupBy(verify.findings, ({ severity, message }) => `${severity}: ${visible(message)}`)].map(
      ([text, { length }]): [string, string] => ['', length > 1 ? `${text} (${length} tables)` : text],
    ),
    ['Looked at', `${well} of ${attempts.length} attempts of two users were answered as they should be`],
    ['Taken back', `${rollback.steps} steps in ${durationText(result.stages.rollback)}${wal(rollback.walBytes)}`],
    [
      'Compared',
      `${equal} of ${comparison.length} tables hold, hash for hash, what they held and what was written since`,
    ],
    ['In all', durationText(result.milliseconds)],
  ];
  return [
    figuresText(result.writers),
    '',
    table(
      attempts.map(({ what, answer, asItShould }) => ({
        attempt: what,
        answer: `${shortened(answer)}${asItShould ? '' : '  WRONG'}`,
      })),
      ['attempt', 'answer'],
    ),
    '',
    ...pairs.map(([name, value]) => `${name.padEnd(14)}${value}`),
    ...result.writers.flatMap(({ name, firstFault }) =>
      firstFault === null ? [] : [`${name}: ${visible(firstFault)}`],
    ),
    '',
    isWell(result)
      ? 'Nothing was lost, nobody was locked out, nobody saw what is another’s.'
      : 'NOT EVERYTHING IS WELL; see above.',
  ].join('\n');
}

const answerColumns = 48;

function shortened(answer: string): string {
  return answer.length > answerColumns ? `${answer.slice(0, answerColumns - 1)}…` : answer;
}

function phasesText({ phases }: DemoResult): string {
  return phases.map(({ phase, milliseconds }) => `${phase} ${durationText(milliseconds)}`).join(', ');
}

function keptText({ url, dataDir, role }: DemoDatabase): string {
  const command = dataDir === null ? `DATABASE_URL='${url}' ringfence` : `ringfence --data-dir ${dataDir}`;
  return `
The database is there still, as it was before the rollout. Try the verbs on it:
  ${command} preflight
  ${command} apply
  psql '${url}'
The old application's log-in is ${role.name}.
${
  dataDir === null
    ? `Remove it with: drop database ${new URL(url).pathname.slice(1)}; drop role ${role.name};`
    : 'It is removed when you end this with Ctrl-C.'
}`;
}
