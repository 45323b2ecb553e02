/** `ringfence doctor ["symptom"]`: looks for the cause of what somebody sees. Changes nothing. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { text as readAll } from 'node:stream/consumers';
import { systemClock } from '../clock.ts';
import { type Config, loadConfig } from '../config.ts';
import { connectToRunning } from '../database/embedded.ts';
import { Problem, problem } from '../errors.ts';
import { withConnection } from '../rollout/connection.ts';
import { type DatabaseCheckName, databaseChecks, diagnose } from '../rollout/doctor/checks.ts';
import { keysWithOwner } from '../rollout/doctor/keys.ts';
import { type Finding, fail, pass, warn } from '../rollout/finding.ts';
import { withOwnedDatabase } from './database.ts';
import {
  checkClock,
  checkIdentityKey,
  checkIsolationFlag,
  checkLogIns,
  checkLogs,
  checkMemory,
  checkSchema,
  checkSession,
  type Reached,
} from './doctor-server.ts';
import { matchSymptoms, type ServerCheckName, type Symptom, serverCheckNames, symptoms } from './doctor-symptoms.ts';
import { diagnoseToken, type TokenDiagnosis } from './doctor-token.ts';
import { printFindings } from './findings.ts';
import { monitored } from './monitored-subject.ts';

export interface DoctorFlags {
  readonly json?: boolean | undefined;
  readonly verbose?: boolean | undefined;
  /** A token, or the header with it, comes on standard input. */
  readonly token?: boolean | undefined;
}

interface Wanted {
  readonly server: ReadonlySet<ServerCheckName>;
  readonly database: readonly DatabaseCheckName[];
}

/**
 * @param described undefined makes every check
 * @returns exit code 1 when something must be put right
 * @throws Problem `usage_error` for a symptom that none of ours is like, with ours
 */
export async function runDoctor(
  env: NodeJS.ProcessEnv,
  overrides: Parameters<typeof loadConfig>[1],
  described: string | undefined,
  flags: DoctorFlags,
): Promise<0 | 1> {
  const found = described === undefined ? symptoms : matchSymptoms(described);
  if (found.length === 0) throw unknownSymptom(described ?? '');
  const wanted = wantedFor(found, described === undefined);
  const given = flags.token === true ? await readAll(process.stdin) : undefined;
  const seen = await examine(env, overrides, wanted, given);
  // How keys are now is news to who runs into 42P10; without a symptom nothing is wrong with it.
  const findings = described === undefined ? seen.filter(({ check }) => check !== keysWithOwner) : seen;
  const matched = described === undefined ? {} : { symptoms: found.map(({ text }) => text) };
  if (described !== undefined && flags.json !== true) {
    process.stderr.write(`Looking for causes of: ${found.map(({ text }) => text).join('; ')}\n`);
  }
  return printFindings(findings, flags, matched);
}

function unknownSymptom(described: string): Problem {
  const known = symptoms.map(({ text }) => `"${text}"`).join(', ');
  return problem(
    'usage_error',
    `symptom: nothing is known by ${JSON.stringify(described)}; known are ${known}. Without a symptom every check is made`,
  );
}

function wantedFor(found: readonly Symptom[], all: boolean): Wanted {
  if (all) {
    const names = Object.keys(databaseChecks).filter((name): name is DatabaseCheckName => name in databaseChecks);
    return { server: new Set(serverCheckNames), database: names };
  }
  return {
    server: new Set(found.flatMap(({ server }) => server)),
    database: [...new Set(found.flatMap(({ database }) => database))],
  };
}

async function examine(
  env: NodeJS.ProcessEnv,
  overrides: Parameters<typeof loadConfig>[1],
  wanted: Wanted,
  given: string | undefined,
): Promise<Finding[]> {
  const { config, findings } = readConfig(env, overrides);
  if (config === undefined) return [...findings, ...(await withoutConfig(env, wanted))];
  const offline = [
    ...(wanted.server.has('config') ? findings : []),
    ...(wanted.server.has('isolation-flag') ? checkIsolationFlag(config) : []),
    ...(wanted.server.has('memory') ? checkMemory(config) : []),
    ...(wanted.server.has('logs') ? await checkLogs(config) : []),
  ];
  try {
    return [...offline, ...(await withReached(config, (reached) => online(reached, wanted, given)))];
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return [...offline, ...tokenWithoutDatabase(config, wanted, given), unreachable(error)];
  }
}

function readConfig(
  env: NodeJS.ProcessEnv,
  overrides: Parameters<typeof loadConfig>[1],
): { config: Config | undefined; findings: Finding[] } {
  try {
    const config = loadConfig(env, overrides, false);
    return { config, findings: [pass('config', undefined, 'every variable is valid, and no secret is weak')] };
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== 'config_invalid') throw error;
    const findings = error.message.split('\n').map((line) => {
      const at = line.indexOf(': ');
      return fail(
        'config',
        line.slice(0, at),
        line.slice(at + 2),
        'put it right and restart the server; `ringfence config check` shows all of them',
      );
    });
    return { config: undefined, findings };
  }
}

/** A wrong secret is no reason not to look into the database. */
async function withoutConfig(env: NodeJS.ProcessEnv, wanted: Wanted): Promise<Finding[]> {
  const url = env.DATABASE_URL;
  if (url === undefined || URL.parse(url) === null || wanted.database.length === 0) return [];
  try {
    return await databaseFindings(url, wanted);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return [unreachable(error)];
  }
}

/** The embedded Postgres is started for the moment where there is one; doctor makes none. */
async function withReached<T>(config: Config, work: (reached: Reached) => Promise<T>): Promise<T> {
  const { database } = config;
  if (database.kind === 'external' && database.ownerUrl === undefined) {
    return work({ config, ownerUrl: undefined, secret: config.jwt.secretKey });
  }
  if (database.kind === 'embedded' && !existsSync(join(config.dataDir, 'postgres-password'))) {
    if ((await connectToRunning(config.dataDir)) === null) {
      throw problem(
        'database_unavailable',
        `No server has run on ${config.dataDir} yet; start one with: ringfence serve`,
      );
    }
  }
  return withOwnedDatabase(config, async ({ ownerUrl, secret }) =>
    work({ config, ownerUrl, secret: database.kind === 'external' ? config.jwt.secretKey : await secret() }),
  );
}

async function online(reached: Reached, wanted: Wanted, given: string | undefined): Promise<Finding[]> {
  const { config, ownerUrl } = reached;
  const systemUrl = config.database.kind === 'external' ? config.database.roles?.systemUrl : undefined;
  const url = ownerUrl ?? systemUrl;
  if (url === undefined) return [];
  const product = await withConnection(url, 'doctor', async (client) => (await monitored(client)).product);
  const findings: Finding[] = [];
  if (ownerUrl === undefined) {
    findings.push(
      warn(
        'owner',
        'DATABASE_URL',
        'is not set: what only the owner may see was not looked at',
        'run doctor with the owner in DATABASE_URL',
      ),
    );
  }
  if (wanted.server.has('clock')) findings.push(...(await checkClock(url)));
  findings.push(...(await tokenFindings(reached, wanted, given, product)));
  if (product) {
    if (reached.secret === undefined) {
      const message = 'is not set here: tokens, log-ins and the identity key were not looked at';
      findings.push(warn('config', 'JWT_SECRET_KEY', message, 'run doctor with the environment of the server'));
    }
    if (wanted.server.has('schema')) findings.push(...(await checkSchema(reached)));
    if (wanted.server.has('identity-key')) findings.push(...(await checkIdentityKey(reached)));
    if (wanted.server.has('log-ins')) findings.push(...(await checkLogIns(reached)));
  }
  return [...findings, ...(await databaseFindings(url, wanted))];
}

async function databaseFindings(url: string, wanted: Wanted): Promise<Finding[]> {
  if (wanted.database.length === 0) return [];
  return withConnection(url, 'doctor', async (client) => {
    const { subject, shadowed } = await monitored(client);
    if (subject.tables.length === 0) {
      const message = 'no plan is in force and no table has the policy user_isolation: nothing is isolated';
      const remedy = 'run: ringfence preflight, then plan and apply (our own schema: ringfence migrate up)';
      return [
        fail('isolation', undefined, message, remedy),
        ...(await diagnose(
          client,
          subject,
          wanted.database.filter((name) => name === 'sessions' || name === 'locks'),
        )),
      ];
    }
    // Before the cut-over policies are not in force, and need not be.
    const names = shadowed ? wanted.database.filter((name) => name !== 'guards') : wanted.database;
    return diagnose(client, subject, names);
  });
}

async function tokenFindings(
  reached: Reached,
  wanted: Wanted,
  given: string | undefined,
  product: boolean,
): Promise<readonly Finding[]> {
  const diagnosis = diagnosed(reached.config, reached.secret, wanted, given);
  if (!product || diagnosis.session === null) return diagnosis.findings;
  return [...diagnosis.findings, ...(await checkSession(reached, diagnosis.session))];
}

function tokenWithoutDatabase(config: Config, wanted: Wanted, given: string | undefined): readonly Finding[] {
  return diagnosed(config, config.jwt.secretKey, wanted, given).findings;
}

/** A token that was given is looked at whatever the symptom. */
function diagnosed(
  config: Config,
  secretKey: string | undefined,
  wanted: Wanted,
  given: string | undefined,
): TokenDiagnosis {
  if (given !== undefined) {
    return diagnoseToken(given, { local: { ...config.jwt, secretKey }, jwks: config.jwks, now: systemClock.now() });
  }
  if (!wanted.server.has('token')) return { findings: [], session: null };
  const hint = 'no token was given; with --token it is read from standard input and each of its checks is made';
  return { findings: [pass('token', undefined, hint)], session: null };
}

/** By what the driver or Postgres said. */
const reasons: readonly (readonly [RegExp, string])[] = [
  [/ECONNREFUSED/, 'nothing listens there: start Postgres, or put host and port of DATABASE_URL right'],
  [/ENOTFOUND|EAI_AGAIN/, 'the host name of DATABASE_URL is not known: put it right'],
  [/timeout|ETIMEDOUT|EHOSTUNREACH/i, 'nothing answers: look at firewalls and at listen_addresses'],
  [/password authentication|28P01/, 'put the password in DATABASE_URL right'],
  [
    /no pg_hba\.conf entry|28000/,
    'let this machine and role in, in pg_hba.conf (with sslmode=require in DATABASE_URL if it asks for SSL)',
  ],
  [/database ".*" does not exist|3D000/, 'put the database name in DATABASE_URL right, or create the database'],
  [/too many (clients|connections)|53300/, 'close connections or raise max_connections'],
  [/starting up|shutting down|57P0/, 'wait until Postgres is up'],
  [/No server has run/, 'run: ringfence serve'],
];

function unreachable(error: Problem): Finding {
  const remedy = reasons.find(([pattern]) => pattern.test(error.message))?.[1];
  return fail('database', undefined, error.message, remedy ?? 'put right what it says, then run doctor again');
}
