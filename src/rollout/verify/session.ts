/**
 * A transaction in which verify can see all rows, and can be any user, and of which nothing stays: it is always rolled
 * back. It makes its own key for identities in that transaction, so it needs no secret and nobody else can use the key.
 */
import { randomBytes } from 'node:crypto';
import pg, { type ClientBase } from 'pg';
import {
  deriveIdentityKey,
  type IdentityKey,
  identityKeyPads,
  mintIdentity,
  parseUserId,
} from '../../isolation/identity.ts';
import { identifier } from '../identifier.ts';
import { joinRole } from '../join-role.ts';
import type { Context } from './check.ts';
import { systemRole } from './expectation.ts';

export interface Outcome {
  /** SQLSTATE, or null when the statement went through. */
  readonly code: string | null;
  readonly message: string;
  /** Rows returned or changed. */
  readonly count: number;
  readonly rows: readonly Record<string, unknown>[];
}

export interface Limits {
  /** For one statement. */
  readonly statementMs: number;
  /** For one lock; a probe asks for the lock of one row at most. */
  readonly lockMs: number;
  /** As the server's own transactions: the policies say nothing of an identity that was spoilt on the way (identity.sql). */
  readonly silent?: true;
}

export interface Session {
  /** With everybody's rows in sight. Throws what Postgres says. */
  read<T extends object>(sql: string, values?: readonly unknown[]): Promise<T[]>;
  /** As the application's role; what it did is taken back at once. @param identity null for nobody */
  attempt(identity: string | null, sql: string, values?: readonly unknown[]): Promise<Outcome>;
  identityOf(user: string): string;
  /** What an attacker might put into the setting: by name, with the SQLSTATE that answers. */
  forgeries(user: string): readonly { readonly name: string; readonly setting: string; readonly code: string }[];
}

/** @throws pg.DatabaseError when the log-in cannot see all rows or become the application's role */
export async function withSession<T>(
  context: Context,
  limits: Limits,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const { client } = context;
  // One snapshot, so that counts of one transaction can be compared while others write.
  await client.query(`begin isolation level repeatable read${limits.silent ? ', deferrable' : ''}`);
  try {
    await client.query(
      `set local statement_timeout = ${limits.statementMs}; set local lock_timeout = ${limits.lockMs}`,
    );
    // Every refusal would be a line of the server's log, and there are hundreds. Only a superuser may say so.
    if (context.catalog.role.superuser) await client.query('set local log_min_messages = fatal');
    // An owner whom the policies bind, and who is no superuser, sees all rows as a member of the system role alone.
    await joinRole(client, systemRole, 'USAGE');
    await joinRole(client, context.expectation.ownership.appRole, 'SET');
    const key = deriveIdentityKey(randomBytes(32).toString('base64'));
    return await work(sessionOf(context, key, await installKey(client, key)));
  } finally {
    await client.query('rollback');
  }
}

async function installKey(client: ClientBase, key: IdentityKey): Promise<{ pid: number; now: number }> {
  const { inner, outer } = identityKeyPads(key);
  const { rows: keys } = await client.query<{ there: boolean }>(
    "select to_regclass('ringfence.identity_keys') is not null as there",
  );
  if (keys[0]?.there) {
    await client.query('insert into ringfence.identity_keys (key_id, inner_pad, outer_pad) values ($1, $2, $3)', [
      key.keyId,
      inner,
      outer,
    ]);
  }
  const { rows } = await client.query<{ pid: number; now: number }>(
    'select pg_backend_pid() as pid, extract(epoch from clock_timestamp())::float8 * 1000 as now',
  );
  const [row] = rows;
  if (!row) throw new Error('the database did not say what time it is');
  return row;
}

const hourMs = 3_600_000;

function sessionOf(
  { client, expectation }: Context,
  key: IdentityKey,
  { pid, now }: { pid: number; now: number },
): Session {
  // The application's statements meet the triggers that the rollout's own sessions pass by.
  const become = `savepoint attempt; set local ringfence.rollout = 'off'; set local role ${identifier(expectation.ownership.appRole)}`;
  const mint = (user: string, forPid: number, at: number) => {
    const userId = parseUserId(user);
    if (userId === null) throw new Error(`the owner ${user} is no uuid`);
    return mintIdentity(key, userId, forPid, at);
  };
  return {
    async read<T extends object>(sql: string, values: readonly unknown[] = []) {
      await client.query('savepoint reading');
      try {
        return (await client.query<T>(sql, [...values])).rows;
      } finally {
        await client.query('rollback to savepoint reading');
      }
    },
    async attempt(identity, sql, values = []) {
      await client.query(become);
      try {
        await client.query("select set_config('ringfence.identity', $1, true)", [identity ?? '']);
        const result = await client.query<Record<string, unknown>>(sql, [...values]);
        return { code: null, message: '', count: result.rowCount ?? 0, rows: result.rows };
      } catch (error) {
        if (!(error instanceof pg.DatabaseError) || error.code === undefined) throw error;
        return { code: error.code, message: error.message, count: 0, rows: [] };
      } finally {
        await client.query('rollback to savepoint attempt; release savepoint attempt');
      }
    },
    identityOf: (user) => mint(user, pid, now),
    forgeries: (user) => {
      const good = mint(user, pid, now);
      return [
        { name: "the user's id alone", setting: user, code: 'RF002' },
        { name: 'an identity without a signature', setting: good.slice(0, good.lastIndexOf('.')), code: 'RF002' },
        {
          name: 'an identity with another signature',
          setting: `${good.slice(0, -64)}${'0'.repeat(64)}`,
          code: 'RF002',
        },
        { name: 'an expired identity', setting: mint(user, pid, now - hourMs), code: 'RF003' },
        { name: "another connection's identity", setting: mint(user, pid + 1, now), code: 'RF004' },
      ];
    },
  };
}
