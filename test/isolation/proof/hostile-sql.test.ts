import pg from 'pg';
import { describe, expect, inject, test } from 'vitest';
import { deriveIdentityKey, mintIdentity } from '../../../src/isolation/identity.ts';
import { testSecret } from '../../support/templates.ts';
import { declassified } from './declassified.ts';
import { reasonOf } from './hostile-sql/explain.ts';
import { Lane } from './hostile-sql/lane.ts';
import { runHostileSql } from './hostile-sql/run.ts';
import { attacker, makeWorlds } from './hostile-sql/worlds.ts';
import { part } from './hostile-sql.ts';
import type { ProofContext } from './part.ts';

const seed = Number(process.env.RINGFENCE_PROOF_SEED ?? 4);
const context = (): ProofContext => ({
  size: 'short',
  seed,
  postgresUrl: inject('postgres').url,
  templates: inject('postgres').templates,
  say: () => {},
  signal: new AbortController().signal,
});

test(`it holds, at a short size (seed ${seed})`, { timeout: 120_000 }, async () => {
  const { figures, faults } = await part.run(context());
  expect(faults).toEqual([]);
  expect(figures['attempts, compared in two worlds']).toBe(2000);
  expect(figures['requests after a hostile one on its connection']).toBe(60);
});

test('a fault’s attempt is made again by its number alone', { timeout: 60_000 }, async () => {
  const { figures, faults } = await part.run({ ...context(), path: 'level:12' });
  expect(faults).toEqual([]);
  expect(figures['attempts, compared in two worlds']).toBe(2013 - 2000);
  await expect(part.run({ ...context(), path: 'elsewhere:12' })).rejects.toThrow('--path');
});

const eachTable = (statement: string) => `do $do$ declare t text; begin
  for t in select polrelid::regclass from pg_policy where polname = 'user_isolation' loop
    execute format('${statement}', t);
  end loop; end $do$`;
const verifier = (change: (body: string) => string) => `do $do$ begin
  execute (select ${change('pg_get_functiondef(oid)')} from pg_proc where proname = 'verified_user_id'); end $do$`;

/** Each is something that has happened to somebody; the part must find every one of them. */
const defects: Readonly<Record<string, string>> = {
  'policies that let everything through': eachTable('alter policy user_isolation on %s using (true)'),
  'one table without its policy': 'alter table tasks disable row level security',
  'a check missing where rows are written': eachTable('alter policy user_isolation on %s with check (true)'),
  'a second, permissive policy': 'create policy helpful on labels using (true)',
  'a definer’s function that reads for everybody': `create function public.latest() returns setof text
    language sql security definer as 'select name from public.labels'; grant execute on function public.latest() to public`,
  'a view with its owner’s rights': `create view public.overview as select * from tasks; grant select on public.overview to ringfence_app`,
  'keys that can be read':
    'grant select on ringfence.identity_keys to ringfence_app; grant usage on schema ringfence to ringfence_app',
  'a verifier that looks keys up by an open search path, with temporary tables allowed': `
    do $do$ begin execute format('grant temporary on database %I to public', current_database()); end $do$;
    ${verifier((body) => `replace(replace(${body}, 'ringfence.identity_keys', 'identity_keys'), '''pg_catalog'', ''pg_temp''', '''ringfence'', ''public''')`)}`,
  'a verifier that does not look at the signature': verifier(
    (body) => `regexp_replace(${body}, 'if not found or part.*?then', 'if not found then')`,
  ),
  'policies that believe a plain setting': eachTable(
    `alter policy user_isolation on %s using (user_id::text = split_part(current_setting(''ringfence.identity'', true), ''.'', 1))`,
  ).replace("polname = 'user_isolation'", "polname = 'user_isolation' and polrelid <> 'users'::regclass"),
  'keys that are unique over all users': eachTable('create unique index on %s (id)'),
  'statistics that are open again': `do $do$ begin
    execute (select format('grant execute on function %s to public', string_agg(oid::regprocedure::text, ', '))
      from pg_proc where starts_with(proname, 'pg_stat_get_') and pronargs = 1); end $do$`,
};

describe('it can fail', () => {
  test.each(Object.keys(defects))('%s', { timeout: 120_000 }, async (name) => {
    const { faults } = await runHostileSql(context(), {
      lanes: [{ shape: name.startsWith('statistics') ? 'skewed' : 'level', from: 0, below: 12_000 }],
      neighbours: 0,
      spoil: defects[name] ?? '',
      hasty: true,
    });
    expect(faults.length).toBeGreaterThan(0);
  });
});

test('a plan that differs excuses what differs by the plan, and nothing else', { timeout: 120_000 }, async () => {
  const worlds = await makeWorlds({
    serverUrl: inject('postgres').url,
    template: inject('postgres').templates.isolated ?? '',
    name: `plans_${process.pid}`,
    shape: 'skewed',
    seed,
    spoil: `create function public.total() returns bigint language sql security definer as 'select count(*) from public.tasks';
      grant execute on function public.total() to public;
      alter table tasks alter user_id set statistics 100; analyze tasks`,
  });
  const lane = await Lane.open(worlds);
  try {
    const reasonOfAnswers = async (sql: string) => {
      const attempt = {
        number: 0,
        family: 'CTE',
        statements: [{ sql, protocol: 'simple' }],
        ending: 'rollback',
      } as const;
      return reasonOf(attempt, await lane.attempt(attempt), lane);
    };
    const reasonFor = (list: string) =>
      reasonOfAnswers(`with forge as materialized (select set_config('ringfence.identity', null, true)),
        changed as (delete from tasks x where length(x.git_branch_id::text) > 0 returning x.id)
        select ${list} from changed, forge`);
    expect(await reasonFor('count(*)')).toBe('choice-of-plan');
    expect(await reasonFor('count(*), public.total()')).toBeNull();
    // Without the sample it is cut short in both worlds alike, which says nothing of them.
    const sample = 'tablesample system (0) repeatable (1)';
    const slow = `(select count(pg_sleep(4)) from pg_class t1 ${sample})`;
    expect(await reasonOfAnswers(`select public.total(), ${slow}`)).toBeNull();
  } finally {
    await lane.close();
    await worlds.drop();
  }
});

describe('what is declassified is so: each statement shows it', () => {
  test('all', { timeout: 120_000 }, async () => {
    const worlds = await makeWorlds({
      serverUrl: inject('postgres').url,
      template: inject('postgres').templates.isolated ?? '',
      name: `declassified_${process.pid}`,
      shape: 'skewed',
      seed,
    });
    try {
      const shown: string[] = [];
      for (const entry of declassified) {
        const [one, other] = entry.meanwhile
          ? [
              await asAttacker(worlds.both[0], entry.statement),
              await asAttacker(worlds.both[0], entry.statement, entry.meanwhile),
            ]
          : [await asAttacker(worlds.both[0], entry.statement), await asAttacker(worlds.both[1], entry.statement)];
        if (one !== other) shown.push(entry.name);
      }
      expect(shown).toEqual(declassified.map(({ name }) => name));
    } finally {
      await worlds.drop();
    }
  });
});

/** @returns everything that the application's role sees: rows, a fault, notifications */
async function asAttacker(
  world: { appUrl: string; url: string },
  statement: string,
  meanwhile?: string,
): Promise<string> {
  const [client, other] = [world.appUrl, world.url].map((url) => new pg.Client({ connectionString: url }));
  if (client === undefined || other === undefined) throw new Error('no client');
  await Promise.all([client.connect(), other.connect()]);
  const heard: string[] = [];
  client.on('notification', ({ channel, payload }) => heard.push(`${channel} ${payload}`));
  try {
    const pid = (await client.query('select pg_backend_pid() as pid')).rows[0].pid;
    const listens = statement.startsWith('listen');
    if (listens) await client.query(statement);
    if (meanwhile !== undefined) await other.query(`begin; ${meanwhile}`);
    if (listens) await other.query('commit');
    await client.query('begin');
    await client.query("select set_config('ringfence.identity', $1, true)", [
      mintIdentity(deriveIdentityKey(testSecret), attacker, pid, Date.now()),
    ]);
    const seen = await client.query(statement).then(
      ({ rows }) => JSON.stringify(rows),
      (error: Error) => error.message,
    );
    await client.query('rollback');
    return `${seen} ${heard.join()}`;
  } finally {
    await Promise.all([client.end(), other.end()]);
  }
}
