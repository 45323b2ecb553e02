/**
 * The same below HTTP: statements of somebody's own making, sent as the application role with the user's own identity and
 * nothing but Postgres between. Rows, counts, SQLSTATEs and messages must be the same in every world.
 *
 * No statement asks for an order it does not name, nor for what is not the user's by its nature (`ctid`, estimates of the
 * planner, statistics): docs/security.md lists what Postgres cannot hide.
 */
import pg from 'pg';
import { parseUserId } from '../../../src/isolation/identity.ts';
import { ownedTables } from '../../../src/isolation/owned-tables.ts';
import { guessedIds } from './model/choice.ts';
import { plantingOf, type World } from './model/world.ts';

const userId = '0190dddd-0000-7000-8000-000000000001';
const ownIds = ['0190dddd-0000-7000-8000-0000000000a1', '0190dddd-0000-7000-8000-0000000000a2'] as const;
const nobodysId = '0190eeee-0000-7000-8000-000000000001';

/** The user of the statements: two rows in every table, the same in every world. */
export async function addSqlUser({ database }: World): Promise<void> {
  await database.query(
    `insert into users (id, email, name, created_at, updated_at) values ($1, 'sql@example.test', 'sql', $2, $2)`,
    [userId, '2026-01-01T00:00:00Z'],
  );
  await database.query(plantingOf(userId, ownIds, (i) => `own ${i}`));
  for (const { table } of ownedTables) {
    const columns = ['created_at', 'updated_at', 'applied_at', 'assigned_at'];
    const { rows } = await database.query<{ name: string }>(
      `select column_name as name from information_schema.columns where table_name = $1 and column_name = any ($2)`,
      [table, columns],
    );
    const assignments = rows.map(({ name }) => `${name} = '2026-01-01T00:00:00Z'`);
    if (assignments.length > 0)
      await database.query(`update ${table} set ${assignments.join(', ')} where user_id = $1`, [userId]);
  }
}

/**
 * Every statement of every family, the same for all worlds.
 *
 * @param guesses how many of the ids that everybody guesses are tried
 */
export async function statementsFor({ database }: World, guesses: number): Promise<string[]> {
  const statements: string[] = [];
  for (const { table, references, updatable } of ownedTables) {
    const { rows } = await database.query<{ name: string }>(
      `select column_name as name from information_schema.columns
       where table_schema = 'public' and table_name = $1 and is_generated = 'NEVER' and column_name not in ('user_id', 'id')
       order by ordinal_position`,
      [table],
    );
    const columns = rows.map(({ name }) => name);
    const named = columns.find((name) => name === 'name' || name === 'title');
    const copy = (id: string, changes: Record<string, string>) =>
      `insert into ${table} (id, ${columns.join(', ')}) select '${id}', ${columns.map((name) => changes[name] ?? name).join(', ')} from ${table} where id = '${ownIds[0]}'`;
    statements.push(
      `select count(*), min(id::text), max(id::text) from ${table}`,
      `select id from ${table} order by id`,
      `select count(*) from ${table} a join ${table} b on a.id <> b.id`,
      `update ${table} set ${updatable[0] ?? 'id'} = ${updatable[0] ?? 'id'}`,
      `delete from ${table}`,
      `select id from ${table} order by id for update skip locked`,
    );
    for (const id of [...guessedIds.slice(0, guesses), ownIds[1], nobodysId]) {
      const unique = named === undefined ? {} : { [named]: `'${id.slice(-4)}'` };
      const self = Object.fromEntries(
        references
          .filter(({ column }) => column === `${table.replace(/s$/, '')}_id`)
          .map(({ column }) => [column, `'${id}'`]),
      );
      statements.push(
        `select * from ${table} where id = '${id}'`,
        `select exists (select from ${table} where id = '${id}')`,
        // Runs for hidden rows only if a function may look at a row before the policy does.
        `select count(*) from ${table} where 1 / (case when id = '${id}' then 0 else 1 end) = 1`,
        `select count(*) from ${table} where id::text like '${id.slice(0, 12)}%' and (id::text || 'x')::uuid is not null`,
        copy(id, { ...unique, ...self }),
        `${copy(id, { ...unique, ...self })} on conflict do nothing returning id`,
        `${copy(id, { ...unique, ...self })} on conflict (user_id, id) do nothing`,
        `${copy(id, { ...unique, ...self })} on conflict (id) do nothing`,
        `update ${table} set id = '${id}' where id = '${ownIds[0]}'`,
        `update ${table} set user_id = '${id}' where id = '${ownIds[0]}'`,
        `delete from ${table} where id = '${id}' returning id`,
        `with gone as (delete from ${table} where id = '${id}' returning id) select count(*) from gone`,
        ...(named === undefined
          ? []
          : [
              copy(nobodysId, { [named]: `'alpha'` }),
              `update ${table} set ${named} = 'alpha' where id = '${ownIds[0]}'`,
            ]),
        ...references.flatMap(({ column, table: parent }) => [
          copy(nobodysId, { ...unique, [column]: `'${id}'` }),
          `update ${table} set ${column} = '${id}' where id = '${ownIds[0]}'`,
          `select count(*) from ${table} c left join ${parent} p on p.id = '${id}' where p.id is null`,
        ]),
        `merge into ${table} t using (select '${id}'::uuid as id) s on t.id = s.id when matched then delete when not matched then do nothing`,
      );
    }
  }
  for (const key of ['key-1', 'key-9']) {
    statements.push(
      `insert into idempotency_keys (id, key, request_hash) values ('${nobodysId}', '${key}', sha256('x')) on conflict do nothing returning key`,
      `insert into idempotency_keys (id, key, request_hash) values ('${guessedIds[0]}', '${key}', sha256('x'))`,
    );
  }
  statements.push(
    'select id, email, name from users order by id',
    'select count(*) from sessions',
    'select count(*) from api_tokens',
    `select count(*) from user_access_log where operation <> ''`,
    `update users set name = 'x'`,
    'delete from users',
  );
  return statements;
}

/** What comes of a statement, which is then taken back. */
export async function outcomeOf({ server }: World, statement: string): Promise<string> {
  const id = parseUserId(userId);
  if (id === null) throw new Error('the user of the statements has no id');
  const caller = { userId: id, actor: 'cli', requestId: 'twin-statement' };
  try {
    const { columns, rows, command, count } = await server.isolation.sqlAs(caller, statement, { write: false });
    return JSON.stringify({ columns, rows, command, count });
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) throw error;
    const { code, message, detail, hint, schema, table, column, constraint, dataType, where } = error;
    return JSON.stringify({ code, message, detail, hint, schema, table, column, constraint, dataType, where });
  }
}
