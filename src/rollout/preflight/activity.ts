/** What is going on that a rollout would wait for, or that would suffer from it. */
import { type Finding, pass, warn } from '../finding.ts';
import { prepared, sessions, slots, standbys, visibility, wraparound } from './activity-queries.ts';
import { bytesText, durationText } from './amounts.ts';
import { listed, type Subject } from './subject.ts';

const longTransactionSeconds = 60;
const gigabyte = 1024 ** 3;
/** WAL that a slot or a standby may be behind before the rollout's own WAL makes it worse. */
const lagBytes = gigabyte;
const lagSeconds = 60;
/** Share of autovacuum_freeze_max_age from which on an anti-wraparound vacuum is near. */
const nearWraparound = 0.9;

export async function activityFindings(subject: Subject): Promise<Finding[]> {
  return [
    ...(await sessionFindings(subject)),
    ...(await preparedFindings(subject)),
    ...(await slotFindings(subject)),
    ...(await standbyFindings(subject)),
    ...(await wraparoundFindings(subject)),
  ];
}

interface SessionRow {
  readonly pid: number;
  readonly user: string | null;
  readonly application: string;
  readonly state: string;
  readonly seconds: number;
}

async function sessionFindings({ client, options }: Subject): Promise<Finding[]> {
  const seconds = options.longTransactionSeconds ?? longTransactionSeconds;
  const { rows } = await client.query<SessionRow>(sessions, [seconds]);
  const seen = await client.query<{ activity: boolean }>(visibility);
  const findings = rows.map((row) => (row.seconds > seconds ? longTransaction(row) : idleInTransaction(row)));
  if (findings.length === 0) findings.push(pass('long-transactions', undefined, 'No transaction is long or idle.'));
  if (seen.rows[0]?.activity) return findings;
  return [
    ...findings,
    warn(
      'activity-visibility',
      undefined,
      "This role does not see other roles' transactions: long ones may be there.",
      'grant pg_read_all_stats to the role that does the rollout.',
    ),
  ];
}

const who = ({ user, application }: SessionRow) => `${user ?? 'unknown'}${application ? ` (${application})` : ''}`;

function longTransaction(row: SessionRow): Finding {
  return warn(
    'long-transactions',
    `pid ${row.pid}`,
    `A transaction of ${who(row)} has been open for ${durationText(row.seconds * 1000)}, state "${row.state}".`,
    'CREATE INDEX CONCURRENTLY waits for it and every lock queues behind it: let it end, or pg_terminate_backend(pid).',
  );
}

function idleInTransaction(row: SessionRow): Finding {
  return warn(
    'idle-in-transaction',
    `pid ${row.pid}`,
    `A session of ${who(row)} is ${row.state} since ${durationText(row.seconds * 1000)}.`,
    'Set idle_in_transaction_session_timeout for the old application, so that none holds a lock for long.',
  );
}

async function preparedFindings({ client }: Subject): Promise<Finding[]> {
  const { rows } = await client.query<{ gid: string; owner: string; seconds: number }>(prepared);
  if (rows.length === 0) return [pass('prepared-transactions', undefined, 'There are no prepared transactions.')];
  return rows.map(({ gid, owner, seconds }) =>
    warn(
      'prepared-transactions',
      `prepared transaction ${gid}`,
      `${owner} prepared it ${durationText(seconds * 1000)} ago; it holds its locks until it is ended.`,
      'commit prepared or rollback prepared, whichever its coordinator meant.',
    ),
  );
}

interface SlotRow {
  readonly name: string;
  readonly active: boolean;
  readonly walStatus: string;
  readonly bytes: number | null;
}

async function slotFindings({ client }: Subject): Promise<Finding[]> {
  const { rows } = await client.query<SlotRow>(slots);
  return rows.map(({ name, active, walStatus, bytes }) => {
    const object = `replication slot ${name}`;
    const kept = bytes === null ? '' : ` and keeps ${bytesText(bytes)} of WAL`;
    if (walStatus === 'lost') {
      return warn(
        'replication-slots',
        object,
        'It has lost the WAL it needs.',
        'Drop it; its consumer must start anew.',
      );
    }
    if (!active) {
      const message = `Nobody uses it${kept}; the rollout's WAL would pile up behind it.`;
      return warn('replication-slots', object, message, 'Start its consumer, or pg_drop_replication_slot().');
    }
    if ((bytes ?? 0) > lagBytes) {
      const message = `It is behind${kept}; the rollout writes more.`;
      return warn('replication-slots', object, message, 'Wait until its consumer has caught up.');
    }
    return pass('replication-slots', object, 'It is in use and keeps up.');
  });
}

export interface StandbyRow {
  readonly name: string;
  readonly state: string;
  readonly bytes: number | null;
  readonly seconds: number | null;
}

async function standbyFindings({ client }: Subject): Promise<Finding[]> {
  const { rows } = await client.query<StandbyRow>(standbys);
  return rows.map(standbyFinding);
}

export function standbyFinding({ name, state, bytes, seconds }: StandbyRow): Finding {
  const object = `standby ${name}`;
  if (bytes === null) {
    const message = `Its state is "${state}"; how far behind it is cannot be told.`;
    return warn('standby-lag', object, message, 'Make sure that it follows, or expect reads there to be old.');
  }
  const behind = `${bytesText(bytes)}${seconds === null ? '' : `, ${durationText(seconds * 1000)}`} behind`;
  if (bytes <= lagBytes && (seconds ?? 0) <= lagSeconds) return pass('standby-lag', object, `It is ${behind}.`);
  return warn('standby-lag', object, `It is ${behind}; the rollout writes more.`, 'Wait until it has caught up.');
}

export interface WraparoundRow {
  readonly running: readonly string[];
  readonly age: number;
  readonly maxAge: number;
}

async function wraparoundFindings({ client }: Subject): Promise<Finding[]> {
  const { rows } = await client.query<WraparoundRow>(wraparound);
  return rows.map(wraparoundFinding);
}

export function wraparoundFinding({ running, age, maxAge }: WraparoundRow): Finding {
  const check = 'wraparound';
  if (running.length > 0) {
    const message = `Autovacuum prevents wraparound on ${listed(running)} and does not give way to ALTER TABLE.`;
    return warn(check, undefined, message, 'Wait until it is done (pg_stat_progress_vacuum).');
  }
  if (age > nearWraparound * maxAge) {
    const message = `The oldest transaction id is ${age} old; autovacuum to prevent wraparound starts at ${maxAge}.`;
    return warn(check, undefined, message, 'Run VACUUM (FREEZE) on the largest tables before the rollout.');
  }
  return pass(check, undefined, 'No vacuum against wraparound is running or near.');
}
