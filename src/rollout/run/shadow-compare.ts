/**
 * Shadow mode: the policies bind a role that nobody uses, and what that role sees as this or that user is compared with
 * what the owner column says. One snapshot, nothing kept.
 */
import { randomBytes } from 'node:crypto';
import { problem } from '../../errors.ts';
import type { IdentityKey, UserId } from '../../isolation/identity.ts';
import { deriveIdentityKey, identityKeyPads, mintIdentity, parseUserId } from '../../isolation/identity.ts';
import { type Connection, sqlState } from '../connection.ts';
import { identifier } from '../identifier.ts';
import { joinRole } from '../join-role.ts';
import type { Action, ShadowTable } from '../plan.ts';
import { type StepRun, stopIfAsked } from './step-run.ts';

const shadowRole = 'ringfence_shadow';
const largestUsers = 5;
const randomUsers = 10;
const quarantineOwner = '00000000-0000-4000-8000-000000000000';
const differencesShown = 20;

/** @throws Problem `rollout_refused` naming tables and users where the two differ */
export async function compareShadow(run: StepRun, { tables }: Extract<Action, { kind: 'shadow' }>): Promise<void> {
  const differences: string[] = [];
  let comparisons = 0;
  for (const [at, table] of tables.entries()) {
    stopIfAsked(run.signal);
    run.report({ done: at, total: tables.length, unit: 'rows', rows: comparisons });
    const outcome = await compareTable(run.client, table);
    differences.push(...outcome.differences);
    comparisons += outcome.comparisons;
  }
  if (differences.length > 0) {
    const further = differences.length - differencesShown;
    const lines = differences.slice(0, differencesShown).concat(further > 0 ? [`and ${further} more`] : []);
    throw problem(
      'rollout_refused',
      `the policies do not show what the owner column says:\n${lines.map((line) => `  ${line}`).join('\n')}\n` +
        'Something else decides what is seen: look for further policies on these tables.',
    );
  }
  await run.finish(run.client, { comparisons });
}

async function compareTable(
  client: Connection,
  table: ShadowTable,
): Promise<{ differences: string[]; comparisons: number }> {
  await client.query('begin isolation level repeatable read');
  try {
    await joinRole(client, shadowRole, 'SET');
    const key = await installTemporaryKey(client);
    const users = await usersToTry(client, table);
    const differences: string[] = [];
    for (const user of users) {
      const truth = await digest(client, table, user);
      await becomeShadow(client, await identityOf(client, key, user));
      const seen = await digest(client, table, null);
      await becomeOwner(client);
      if (truth.rows !== seen.rows || truth.hash !== seen.hash) {
        differences.push(`${table.table}, user ${user}: ${truth.rows} rows, the policy shows ${seen.rows}`);
      }
    }
    const nobody = await seenByNobody(client, table);
    if (nobody !== null) differences.push(nobody);
    return { differences, comparisons: users.length + 1 };
  } finally {
    await client.query('rollback').catch(() => {});
  }
}

/** A key of its own needs no secret of the application, and is gone with the transaction. */
async function installTemporaryKey(client: Connection): Promise<IdentityKey> {
  const key = deriveIdentityKey(randomBytes(32).toString('hex'));
  const pads = identityKeyPads(key);
  await client.query('insert into ringfence.identity_keys (key_id, inner_pad, outer_pad) values ($1, $2, $3)', [
    key.keyId,
    pads.inner,
    pads.outer,
  ]);
  return key;
}

async function identityOf(client: Connection, key: IdentityKey, user: UserId): Promise<string> {
  const { rows } = await client.query<{ pid: number; now: number }>(
    'select pg_backend_pid() as pid, (extract(epoch from clock_timestamp()) * 1000)::float8 as now',
  );
  const [row] = rows;
  if (!row) throw new Error('a query without a table returned no row');
  return mintIdentity(key, user, row.pid, row.now);
}

/** Those with most rows, some others, whoever owns what nobody claimed, and somebody who has nothing. */
async function usersToTry(client: Connection, { table, ownerColumn }: ShadowTable): Promise<readonly UserId[]> {
  const owner = identifier(ownerColumn);
  const { rows } = await client.query<{ owner: string }>(
    `with owners as materialized (select t.${owner} as owner, count(*) as rows from ${table} t group by 1)
    (select owner::text from owners where owner is not null order by rows desc limit ${largestUsers})
    union
    (select owner::text from owners where owner is not null order by random() limit ${randomUsers})
    union select '${quarantineOwner}'
    union select gen_random_uuid()::text`,
  );
  return rows.map((row) => {
    const user = parseUserId(row.owner);
    if (user === null) throw new Error(`${row.owner} is not a UUID`);
    return user;
  });
}

interface Digest {
  readonly rows: string;
  readonly hash: string | null;
}

/** In one snapshot a row's place stands for its content. @param user null for whatever is seen */
async function digest(client: Connection, { table, ownerColumn }: ShadowTable, user: UserId | null): Promise<Digest> {
  const { rows } = await client.query<Digest>(
    `select count(*)::text as rows, sum(hashtidextended(t.ctid, t.tableoid::bigint)::numeric)::text as hash
    from ${table} t ${user === null ? '' : `where t.${identifier(ownerColumn)} = '${user}'`}`,
  );
  const [row] = rows;
  if (!row) throw new Error('an aggregate returned no row');
  return row;
}

async function becomeShadow(client: Connection, identity: string): Promise<void> {
  await client.query("select set_config('ringfence.identity', $1, true)", [identity]);
  await client.query(`set local row_security = on; set local role ${shadowRole}`);
}

async function becomeOwner(client: Connection): Promise<void> {
  await client.query('set local role none; set local row_security = off');
}

/** Without an identity the policy raises RF001; a table without rows never asks for it. */
async function seenByNobody(client: Connection, table: ShadowTable): Promise<string | null> {
  await client.query('savepoint nobody');
  await becomeShadow(client, '');
  try {
    const { rows } = await digest(client, table, null);
    if (rows === '0') return null;
    return `${table.table}, nobody: the policy shows ${rows} rows and raises no error`;
  } catch (error) {
    if (sqlState(error) === 'RF001') return null;
    throw error;
  } finally {
    await client.query('rollback to savepoint nobody');
  }
}
