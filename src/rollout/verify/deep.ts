/**
 * `verify --deep`: what verify checks, and besides everything that the application's roles can reach, and a sample of the
 * catalogue of attacks. On a database in use: every write is rolled back, at a pace, and bounded in time.
 */
import { createHash } from 'node:crypto';
import type { ClientBase } from 'pg';
import { monotonicMs } from '../../clock.ts';
import type { Finding } from '../finding.ts';
import type { Check } from './check.ts';
import { type Closure, closureCheck } from './closure/closure.ts';
import type { Reviewed } from './closure/found.ts';
import type { Expectation } from './expectation.ts';
import { attemptsMax, type HostileSample, hostileCheck, newSample } from './hostile/sample.ts';
import { type Pace, paced } from './pace.ts';
import { checkDatabase, type Verification } from './verify.ts';

export const statementsPerSecondDefault = 200;
export const maxSecondsDefault = 600;

export interface DeepOptions extends Pace {
  readonly reviewed: Reviewed;
  readonly onCheck: (name: string) => void;
  /** Of the hostile sample at most. */
  readonly attempts?: number;
}

export interface CheckResult {
  readonly name: string;
  /** What is so when there is no fault. */
  readonly holds: string;
  readonly findings: readonly Finding[];
  readonly milliseconds: number;
}

export interface DeepVerification extends Verification {
  /** Null when it could not be read. */
  readonly closure: Closure | null;
  readonly sample: HostileSample;
  readonly checks: readonly CheckResult[];
  readonly statements: number;
  readonly about: About;
  readonly pace: Pace;
  readonly reviewed: Reviewed;
}

export interface About {
  readonly at: Date;
  readonly database: string;
  /** `18.4`, as the server says it. */
  readonly server: string;
  /** Who looked. */
  readonly role: string;
  readonly superuser: boolean;
  /** Databases of the cluster that the application's role may connect to besides: nobody looked there. */
  readonly otherDatabases: readonly string[];
  /** Of whose the rows are and what is meant to be there: what everything was held against. */
  readonly expectationHash: string;
}

/** @param client the owner's connection, outside a transaction */
export async function verifyDeep(
  client: ClientBase,
  expectation: Expectation,
  { reviewed, onCheck, attempts = attemptsMax, ...pace }: DeepOptions,
): Promise<DeepVerification> {
  const held = paced(client, pace);
  const about = await readAbout(held.client, expectation);
  const sample = newSample();
  let closure: Closure | null = null;
  const checks: CheckResult[] = [];
  const verification = await checkDatabase(held.client, expectation, {
    further: [closureCheck(reviewed, (read) => (closure = read)), hostileCheck(sample, attempts)],
    wrap: (check) => timed(check, checks),
    onCheck,
    // The closure asks the same of views and functions, and of all else.
    without: ['reach'],
  });
  return { ...verification, closure, sample, checks, statements: held.statements(), about, pace, reviewed };
}

function timed(check: Check, results: CheckResult[]): Check {
  return {
    ...check,
    run: async (context) => {
      const began = monotonicMs();
      const findings = await check.run(context);
      const milliseconds = Math.round(monotonicMs() - began);
      results.push({ name: check.name, holds: check.holds(context), findings, milliseconds });
      return findings;
    },
  };
}

async function readAbout(client: ClientBase, expectation: Expectation): Promise<About> {
  const { rows } = await client.query<Omit<About, 'expectationHash'>>(
    `select clock_timestamp() as at, current_database() as database, current_setting('server_version') as server,
       current_user::text as role, (select rolsuper from pg_roles where rolname = current_user) as superuser,
       array(
         select d.datname::text from pg_database d, pg_roles a
         where a.rolname = $1 and d.datname <> current_database() and d.datallowconn
           and has_database_privilege(a.oid, d.oid, 'CONNECT') order by 1
       ) as "otherDatabases"`,
    [expectation.ownership.appRole],
  );
  const [row] = rows;
  if (!row) throw new Error('the database did not say what it is');
  const expectationHash = createHash('sha256').update(JSON.stringify(expectation)).digest('hex');
  return { ...row, expectationHash };
}
