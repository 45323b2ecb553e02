/**
 * The deployment guide's criteria, each with what was measured. `met` only with a figure or a named check; what a program
 * cannot know is a box for somebody to tick, and what was not measured says how to measure it.
 */
import { bytesText } from '../preflight/amounts.ts';
import { hasReached } from '../verify/expectation.ts';
import type { Evidence } from './evidence.ts';
import type { Box, Criterion, State } from './page.ts';

/** Of our own server, asked over HTTP. Null where it was not. */
export interface Served {
  readonly url: string;
  /** Status of /health without a token. */
  readonly health: number | null;
  /** Status of /api/tasks without a token, and with the first user's. */
  readonly withoutToken: number | null;
  readonly withToken: number | null;
  /** What the two users' probe found wrong; null when there were no tokens. */
  readonly faults: readonly string[] | null;
  readonly requests: number;
  readonly latency: Latency | null;
  /** Of a server without isolation, on the same machine and data. */
  readonly baseline: Latency | null;
  /** Status of /admin/system/tasks as the administrator and as an ordinary user. */
  readonly systemMode: { readonly admin: number; readonly user: number | null } | null;
}

export interface Latency {
  readonly requests: number;
  readonly p50: number;
  readonly p95: number;
}

/** From the server's logs. */
export interface Logged {
  readonly files: readonly string[];
  readonly requests: number;
  readonly serverErrors: number;
  readonly refusals: number;
  readonly withoutUser: number;
}

interface Measured {
  readonly evidence: Evidence;
  readonly served: Served | null;
  readonly logged: Logged | null;
}

const overheadMsMax = 5;
const serverErrorShareMax = 0.01;

function judged(id: string, text: string, well: boolean, evidence: string, remedy: string): Criterion {
  return { id, text, state: well ? 'met' : 'not met', evidence, ...(well ? {} : { remedy }) };
}

function notMeasured(id: string, text: string, why: string, how: string): Criterion {
  return { id, text, state: 'not measured', evidence: why, remedy: how };
}

const noServer = 'No server was asked.';
const askServer = '--url ADDRESS --token-a-file FILE --token-b-file FILE';

export function preparation({ evidence, served, logged }: Measured): Criterion[] {
  const { backups } = evidence.history;
  const last = backups.at(-1);
  const { done, withInverse } = evidence.inverses;
  const major = Math.floor(evidence.serverVersion / 10_000);
  return [
    last === undefined
      ? notMeasured(
          'G3',
          'A full backup is completed',
          'No backup is recorded in this database.',
          'Run: ringfence backup',
        )
      : judged(
          'G3',
          'A full backup is completed',
          last.detail.restoreTest === 'passed' && last.detail.failed.length === 0,
          `${last.at.toISOString()}: ${last.detail.method}, ${last.detail.tables} tables, ${last.detail.rows} rows, ${bytesText(last.detail.bytes)}; restored and every table compared by hash: ${last.detail.restoreTest}.`,
          'Run: ringfence backup',
        ),
    done === 0
      ? notMeasured('G7', 'A rollback plan is prepared', 'No step of a plan is done here.', 'Run: ringfence plan')
      : judged(
          'G7',
          'A rollback plan is prepared',
          done === withInverse,
          `${withInverse} of ${done} steps that changed anything have their inverse in the frozen plan.`,
          'Run: ringfence rollback --level database --dry-run',
        ),
    judged(
      'G8',
      'The database supports UUID',
      major >= 15,
      `PostgreSQL ${major}.`,
      'Upgrade to PostgreSQL 15 or later.',
    ),
    token('G9', 'JWT token validation is configured', served),
    logged === null || logged.files.length === 0
      ? notMeasured('G10', 'Logs follow the user', 'No logs were read.', 'Set LOG_DIR to where the server logs.')
      : judged(
          'G10',
          'Logs follow the user',
          logged.files.length === 2,
          `Read: ${logged.files.join(', ')}; ${logged.requests} requests.`,
          'Both application.log and security.log have to be there.',
        ),
    served === null
      ? notMeasured('G11', 'Health checks are answered', noServer, '--url ADDRESS')
      : judged(
          'G11',
          'Health checks are answered',
          served.health === 200,
          `GET /health: ${served.health ?? 'no answer'}.`,
          'Start the server.',
        ),
  ];
}

function token(id: string, text: string, served: Served | null): Criterion {
  if (served === null || served.withToken === null) return notMeasured(id, text, noServer, askServer);
  return judged(
    id,
    text,
    served.withoutToken === 401 && served.withToken === 200,
    `GET /api/tasks: ${served.withoutToken ?? 'no answer'} without a token, ${served.withToken} with one.`,
    'Run: ringfence doctor "Invalid token"',
  );
}

export function schema({ evidence }: Measured): Criterion[] {
  const { tables, verification, expectation } = evidence;
  const missing = tables.filter(({ ownerInPlace }) => !ownerInPlace);
  const quarantined = tables.reduce((sum, table) => sum + table.quarantined, 0);
  const ownerless = verification?.summary.ownerless ?? null;
  return [
    tables.length === 0
      ? notMeasured(
          'G17',
          'Every owned table has its owner column',
          'No table is known to be owned.',
          'Run: ringfence plan',
        )
      : judged(
          'G17',
          'Every owned table has its owner column',
          missing.length === 0,
          missing.length === 0
            ? `${tables.length} of ${tables.length} tables: uuid, NOT NULL.`
            : `Not so: ${missing.map(({ table }) => table).join(', ')}.`,
          'Run: ringfence apply',
        ),
    ownerless === null
      ? notMeasured('G18', 'No row is without an owner', 'No fresh verify was run.', 'Leave --no-verify out.')
      : judged(
          'G18',
          'No row is without an owner',
          ownerless.every((row) => Number(row.null_user_ids) === 0),
          `${ownerless.reduce((sum, row) => sum + Number(row.null_user_ids), 0)} rows in ${ownerless.length} tables; ${quarantined} are in quarantine, which system mode alone sees.`,
          'Run: ringfence assign',
        ),
    expectation === null
      ? notMeasured('G12', 'The migration is applied', 'No plan is in force.', 'Run: ringfence apply')
      : judged(
          'G12',
          'The migration is applied',
          hasReached(expectation, 'cutover'),
          `The last phase complete is ${expectation.reached ?? 'none'}; ${stepsText(evidence)}.`,
          'Run: ringfence apply',
        ),
  ];
}

/** Our own schema may have come to its state without a plan, by migration 003. */
function stepsText({ plan, phases }: Evidence): string {
  if (plan === null) return 'by migration 003, which names each table';
  const sum = (figure: (phase: (typeof phases)[number]) => number) => phases.reduce((all, one) => all + figure(one), 0);
  return `${sum(({ done }) => done)} of ${sum(({ steps }) => steps)} steps are done`;
}

/** Section 9, and the metrics of section 6 that it repeats. */
export function success(measured: Measured): Criterion[] {
  const { evidence, served, logged } = measured;
  return [
    ...isolation(measured),
    response(served),
    queries(evidence),
    token('G86', 'JWT authentication works', served),
    systemMode(served),
    errors(logged),
    served === null || served.withToken === null
      ? notMeasured('G89', 'Users reach their data', noServer, askServer)
      : judged(
          'G89',
          'Users reach their data',
          served.withToken === 200,
          `GET /api/tasks with a user's token: ${served.withToken}.`,
          'Run: ringfence doctor --token',
        ),
    others(measured),
    notMeasured(
      'G49',
      'Repositories do not leak memory',
      'A report looks once; a leak is seen over time.',
      'Watch the process for a day.',
    ),
  ];
}

function isolation({ evidence: { verification, expectation }, logged }: Measured): Criterion[] {
  const text = 'No access across users';
  const exempt = expectation === null || hasReached(expectation, 'seal') ? [] : expectation.ownership.legacyRoles;
  const stillExempt = exempt.length === 0 ? '' : ` Until the seal these roles see everything: ${exempt.join(', ')}.`;
  const probes: Criterion =
    verification === null
      ? notMeasured('G2', text, 'No fresh verify was run.', 'Leave --no-verify out.')
      : judged(
          'G2',
          text,
          verification.findings.every(({ severity }) => severity !== 'fail') &&
            verification.summary.probes > 0 &&
            exempt.length === 0,
          `verify: ${verification.summary.probes} probes on ${verification.summary.probedTables} tables, ${verification.findings.filter(({ severity }) => severity === 'fail').length} faults.${stillExempt}`,
          exempt.length === 0
            ? 'Run: ringfence verify'
            : 'With the old application off, run: ringfence apply --until seal --yes',
        );
  const log: Criterion =
    logged?.files.includes('security.log') !== true
      ? notMeasured(
          'G83',
          'None in the monitoring logs',
          'No security.log was read.',
          'Set LOG_DIR to where the server logs.',
        )
      : judged(
          'G83',
          'None in the monitoring logs',
          true,
          `security.log: ${logged.refusals} attempts, each refused (UNAUTHORIZED_ACCESS)${logged.refusals > 0 ? '; see G95' : ''}.`,
          '',
        );
  return [probes, log];
}

const ms = (value: number) => `${value.toFixed(1)} ms`;
const latencyText = ({ requests, p50, p95 }: Latency) => `p50 ${ms(p50)}, p95 ${ms(p95)} over ${requests} requests`;

/** The guide names no percentile: the median and the 95th have to be below. */
function response(served: Served | null): Criterion {
  const [id, text] = ['G84', `Response time: less than ${overheadMsMax} ms more`];
  const latency = served?.latency ?? null;
  if (latency === null) return notMeasured(id, text, noServer, askServer);
  const here = `GET /api/tasks: ${latencyText(latency)}.`;
  const baseline = served?.baseline ?? null;
  if (baseline !== null) {
    const [p50, p95] = [latency.p50 - baseline.p50, latency.p95 - baseline.p95];
    const evidence = `${here} Without isolation: ${latencyText(baseline)}. The difference: p50 ${ms(p50)}, p95 ${ms(p95)}.`;
    return judged(
      id,
      text,
      p50 < overheadMsMax && p95 < overheadMsMax,
      evidence,
      'Run: ringfence doctor "slow queries"',
    );
  }
  if (latency.p95 < overheadMsMax) return judged(id, text, true, `${here} The whole answer takes less than that.`, '');
  return notMeasured(
    id,
    text,
    `${here} What isolation adds is not known from that.`,
    '--baseline-url ADDRESS: the same without isolation.',
  );
}

function queries({ indexes }: Evidence): Criterion {
  const [id, text] = ['G85', 'Queries by user use indexes (G48)'];
  if (indexes === null || indexes.tables.length === 0)
    return notMeasured(id, text, 'No table is known to be owned.', 'Run: ringfence plan');
  const faults = indexes.findings.filter(({ severity }) => severity !== 'pass');
  const valid = indexes.indexes.filter((index) => index.valid).length;
  const scans = indexes.indexes.reduce((sum, index) => sum + index.scans, 0);
  return judged(
    id,
    text,
    faults.length === 0,
    `${valid} valid indexes begin with the owner on ${indexes.tables.length} tables, scanned ${scans} times${faults.map(({ object, message }) => `; ${object ?? ''}: ${message}`).join('')}.`,
    'Run: ringfence monitor',
  );
}

function systemMode(served: Served | null): Criterion {
  const [id, text] = ['G87', 'System mode works, for administrators alone'];
  const mode = served?.systemMode ?? null;
  if (mode === null || mode.user === null)
    return notMeasured(
      id,
      text,
      'No administrator’s token was given.',
      '--url ADDRESS --token-a-file FILE --admin-token-file FILE',
    );
  return judged(
    id,
    text,
    mode.admin === 200 && mode.user === 403,
    `GET /admin/system/tasks: ${mode.admin} for the administrator, ${mode.user} for a user.`,
    'Run: ringfence doctor "admin operations fail"',
  );
}

function errors(logged: Logged | null): Criterion {
  const [id, text] = ['G88', 'Errors stay at the baseline (G50)'];
  if (logged === null || logged.requests === 0)
    return notMeasured(id, text, 'No requests in the logs.', 'Set LOG_DIR to where the server logs.');
  const figures = `${logged.serverErrors} of ${logged.requests} requests failed in the server, ${logged.withoutUser} came without a user.`;
  if (logged.serverErrors / logged.requests > serverErrorShareMax)
    return judged(id, text, false, figures, 'Look for level "error" in application.log.');
  if (logged.serverErrors === 0) return judged(id, text, true, figures, '');
  return notMeasured(id, text, figures, 'Compare with the rate before the rollout.');
}

function others({ evidence, served }: Measured): Criterion {
  const [id, text] = ['G90', 'Users do not see other users’ data'];
  if (served?.faults != null) {
    const { faults, requests } = served;
    const found = faults.length === 0 ? 'nothing of the other’s was seen' : faults.join('; ');
    return judged(
      id,
      text,
      faults.length === 0,
      `Two users, ${requests} requests: ${found}.`,
      'Take the server down until the cause is found.',
    );
  }
  if (evidence.verification === null) return notMeasured(id, text, noServer, askServer);
  const failed = evidence.verification.findings.filter(
    ({ check, severity }) => check.startsWith('probe') && severity === 'fail',
  );
  return judged(
    id,
    text,
    failed.length === 0 && evidence.verification.summary.probes > 0,
    `In the database: ${evidence.verification.summary.probes} probes as the application's role, ${failed.length} faults. Over HTTP it was not asked.`,
    'Run: ringfence verify',
  );
}

export function countStates(criteria: readonly Criterion[]): Readonly<Record<State, number>> {
  const count = (state: State) => criteria.filter((criterion) => criterion.state === state).length;
  return { met: count('met'), 'not met': count('not met'), 'not measured': count('not measured') };
}

const operator = 'operator';

export const preparationBoxes: readonly Box[] = [
  {
    id: 'G4',
    text: 'A maintenance window is agreed; the rollout itself needs no downtime',
    who: operator,
    command: 'ringfence plan',
  },
  { id: 'G5', text: 'A database administrator is at hand', who: 'Database Administrator' },
  { id: 'G6', text: 'It was tried in a test environment', who: 'DevOps Lead', command: 'ringfence demo' },
];

export const successBoxes: readonly Box[] = [
  {
    id: 'G82',
    text: 'All user isolation tests pass (the guide’s suite has 19)',
    who: 'DevOps Lead',
    command: 'npm test',
  },
  { id: 'G91', text: 'All application features work', who: 'Application Architect' },
  { id: 'G92', text: 'Users find it fast enough', who: 'support, from users' },
];

export const afterwards: readonly { readonly when: string; readonly boxes: readonly Box[] }[] = [
  {
    when: 'The first 24 hours',
    boxes: [
      { id: 'G93', text: 'Watch error rates and performance', who: operator, command: 'ringfence monitor --watch 10' },
      { id: 'G94', text: 'Spot checks of isolation', who: operator, command: 'ringfence verify' },
      { id: 'G95', text: 'Review the security log', who: 'Security Team', command: 'ringfence monitor --verbose' },
      { id: 'G96', text: 'Confirm the critical workflows of users', who: 'Application Architect' },
    ],
  },
  {
    when: 'Days 1 to 7',
    boxes: [
      {
        id: 'G97',
        text: 'Analyse how effective isolation is',
        who: 'Security Team',
        command: 'ringfence verify --strict',
      },
      {
        id: 'G98',
        text: 'Review the database’s performance',
        who: 'Database Administrator',
        command: 'ringfence monitor',
      },
      { id: 'G99', text: 'Collect feedback from users', who: 'support, from users' },
      {
        id: 'G100',
        text: 'Remove the bottlenecks found',
        who: 'Database Administrator',
        command: 'ringfence doctor "slow queries"',
      },
    ],
  },
  {
    when: 'Weeks 1 to 4',
    boxes: [
      {
        id: 'G101',
        text: 'Comprehensive security audit',
        who: 'Security Team',
        command: 'ringfence verify --strict --verbose',
      },
      {
        id: 'G102',
        text: 'Tune by how it is used',
        who: 'Database Administrator',
        command: 'ringfence monitor --prometheus',
      },
      { id: 'G103', text: 'Train users on what is new', who: 'support' },
      {
        id: 'G104',
        text: 'Bring the documents up to date',
        who: 'Application Architect',
        command: 'ringfence report --html report.html',
      },
    ],
  },
];

export const documents: readonly Box[] = [
  { id: 'G108', text: 'The API’s documentation says which user a request acts for', who: 'Application Architect' },
  { id: 'G109', text: 'The security guidelines are known', who: 'Security Team' },
];

export const contacts: readonly Box[] = [
  'Database Administrator',
  'Security Team',
  'DevOps Lead',
  'Application Architect',
].map((role) => ({ id: 'G110', text: `${role}: name, telephone, e-mail ________________`, who: 'to be filled in' }));
