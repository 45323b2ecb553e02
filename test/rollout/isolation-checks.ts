/** After the last phase: what the isolated application sees, seen through its own log-in with a signed identity. */
import pg from 'pg';
import { deriveIdentityKey, identityKeyPads, mintIdentity, parseUserId } from '../../src/isolation/identity.ts';
import { keyOf, ownerColumnOf, quarantine, readOwners, userIdOf, withClient } from './rows.ts';
import type { Row } from './shape.ts';
import type { Stage } from './stage.ts';
import type { Isolated } from './writer.ts';

const identityKey = deriveIdentityKey('the secret of the rollout tests, which nobody else has');

/** Installs a key to sign with, and the log-in of the new application. */
export async function becomeIsolated(stage: Stage): Promise<Isolated> {
  return stage.asOwner(async (client) => {
    const { inner, outer } = identityKeyPads(identityKey);
    await client.query('insert into ringfence.identity_keys (key_id, inner_pad, outer_pad) values ($1, $2, $3)', [
      identityKey.keyId,
      inner,
      outer,
    ]);
    await stage.makeNewRole(client);
    const ownerColumns: Record<string, string> = {};
    for (const [name, table] of Object.entries(stage.shape.tables)) {
      if (table.owner === null) continue;
      ownerColumns[name] = (await ownerColumnOf(client, table.label)) ?? table.key[0] ?? '';
    }
    return { identityKey, ownerColumns };
  });
}

/** Runs as the user, in a transaction that is rolled back. */
async function asUser<T>(stage: Stage, userId: string | null, work: (client: pg.Client) => Promise<T>): Promise<T> {
  return withClient(stage.loginUrl(stage.newRole), async (client) => {
    await client.query('begin');
    if (userId !== null) await sign(client, userId);
    return work(client);
  });
}

async function sign(client: pg.Client, userId: string): Promise<void> {
  const parsed = parseUserId(userId);
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  if (parsed === null) throw new Error(`${userId} is no user id`);
  await client.query(`select set_config('ringfence.identity', $1, true)`, [
    mintIdentity(identityKey, parsed, rows[0]?.pid ?? 0, Date.now()),
  ]);
}

/** Sentences on rows that a user sees and should not, or does not and should; over some users, nobody, and quarantine. */
export async function faultsInViews(stage: Stage, isolated: Isolated): Promise<string[]> {
  const { shape } = stage;
  const owners = await stage.asOwner((client) => readOwners(client, shape));
  const known = stage.knownOwners();
  const ownerOf = (table: string, key: string) => known.get(`${table} ${key}`) ?? owners.get(table)?.get(key) ?? null;
  const users = [...new Set(owners.get(shape.users)?.values())].filter((user) => user !== null).sort();
  const faults: string[] = [];
  for (const user of users.filter((_, at) => at % Math.ceil(users.length / 5) === 0)) {
    await asUser(stage, userIdOf(shape, user), async (client) => {
      const mine = new Map<string, Set<string>>();
      for (const [name, table] of Object.entries(shape.tables)) {
        if (!(name in isolated.ownerColumns)) continue;
        const key = table.key.map((column) => `t.${pg.escapeIdentifier(column)}`).join(', ');
        const { rows } = await client.query<{ key: unknown[] }>(
          `select jsonb_build_array(${key}) as key from ${table.label} t`,
        );
        const seen = new Set(rows.map((row) => JSON.stringify(row.key)));
        const expected = new Set([...(owners.get(name)?.keys() ?? [])].filter((at) => ownerOf(name, at) === user));
        for (const at of seen.difference(expected)) faults.push(`${user} sees ${name} ${at}`);
        for (const at of expected.difference(seen)) faults.push(`${user} does not see ${name} ${at}`);
        mine.set(name, new Set(rows.map((row) => String(row.key[0]))));
      }
      for (const { sql, table } of shape.exposes ?? []) {
        await client.query('savepoint before');
        try {
          const { rows } = await client.query<{ id: unknown }>(sql);
          const others = rows.filter((row) => !mine.get(table)?.has(String(row.id)));
          if (others.length > 0) faults.push(`${user} sees ${others.length} rows of others by way of ${sql}`);
        } catch (error) {
          // Refused is as good as empty: permission denied, or no materialized view for the application.
          if (!(error instanceof pg.DatabaseError && error.code === '42501')) faults.push(`${sql}: ${String(error)}`);
          await client.query('rollback to before');
        }
      }
    });
  }
  for (const [name, table] of Object.entries(shape.tables)) {
    // Who verifies an identity is asked for the first row.
    if (!(name in isolated.ownerColumns) || owners.get(name)?.size === 0) continue;
    const answer = await asUser(stage, null, (client) =>
      client.query(`select from ${table.label} limit 1`).then(
        () => 'an answer',
        (error: unknown) => (error instanceof pg.DatabaseError ? error.code : String(error)),
      ),
    );
    if (answer !== 'RF001') faults.push(`without an identity ${name} gives ${answer}, not the error RF001`);
  }
  return faults.length > 10 ? [...faults.slice(0, 10), `and ${faults.length - 10} more`] : faults;
}

export interface Twins {
  readonly table: string;
  readonly key: string;
}

/** Gives a second user a row with the id of a first user's: from the last phase on that is nobody's business but his. */
export async function makeTwins(stage: Stage, isolated: Isolated): Promise<Twins> {
  const { shape } = stage;
  const { table: name, changes } = shape.twin;
  const table = shape.tables[name];
  const rows = [...(stage.expectedWorld().get(name)?.values() ?? [])];
  const known = stage.knownOwners();
  const mine = (row: Row) => known.get(`${name} ${table ? keyOf(table, row) : ''}`) ?? null;
  const first = rows.find((row) => mine(row) !== null && mine(row) !== quarantine) ?? rows[0];
  const second = [...new Set(stage.users())].find((user) => first && user !== mine(first));
  if (!table || !first || second === undefined) throw new Error(`shape ${shape.name} has no row to make a twin of`);
  const computed = new Set(
    (stage.columns[name] ?? []).filter((column) => column.computed).map((column) => column.name),
  );
  const values = { ...first, ...changes(second), [isolated.ownerColumns[name] ?? '']: userIdOf(shape, second) };
  const columns = Object.keys(values).filter((column) => !computed.has(column) || table.key.includes(column));
  const overriding = columns.some((column) => computed.has(column)) ? ' overriding system value' : '';
  await withClient(stage.loginUrl(stage.newRole), async (client) => {
    await client.query('begin');
    await sign(client, userIdOf(shape, second));
    await client.query(
      `insert into ${table.label} (${columns.map(pg.escapeIdentifier).join(', ')})${overriding}
       values (${columns.map((_, at) => `$${at + 1}`).join(', ')})`,
      columns.map((column) => (values as Row)[column]),
    );
    await client.query('commit');
  });
  return { table: name, key: keyOf(table, first) };
}
