/** The page is clean where all is well, and names the defect where something is not; as a superuser and as an owner who is none. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openServer, type Server } from '../../../test/rollout/server.ts';
import { shapes } from '../../../test/rollout/shapes/all.ts';
import { createDatabase, statement, type TestDatabase } from '../../../test/support/postgres.ts';
import { ownExtras, ownSchema } from '../../database/own-rollout.ts';
import { withOwner } from '../../database/owner.ts';
import { closeDatabase } from '../../database/provision.ts';
import { withConnection } from '../connection.ts';
import type { Finding } from '../finding.ts';
import type { Phase, Plan } from '../plan.ts';
import { htmlOf } from '../report/html.ts';
import { textOf } from '../report/text.ts';
import { resolvePlan } from '../resolve-plan.ts';
import { loadRolloutConfig } from '../rollout-config.ts';
import { applyPlan } from '../run/runner.ts';
import { type DeepVerification, verifyDeep } from './deep.ts';
import { deepPage } from './deep-page.ts';
import type { Expectation } from './expectation.ts';
import { attemptsMax } from './hostile/sample.ts';
import type { Pace } from './pace.ts';

const own: Expectation = { ownership: ownSchema, reached: 'contract', extras: ownExtras };
const fast: Pace = { statementsPerSecond: 100_000, maxSeconds: 300 };

const deep = (url: string, expectation: Expectation, pace = fast, attempts = attemptsMax): Promise<DeepVerification> =>
  withConnection(url, 'test', (client) =>
    verifyDeep(client, expectation, { ...pace, attempts, reviewed: {}, onCheck: () => {} }),
  );

const failures = (findings: readonly Finding[]) => findings.filter(({ severity }) => severity === 'fail');
const named = ({ findings }: DeepVerification) =>
  failures(findings).map(({ check, object }) => `${check} ${object ?? ''}`);

const people = `
insert into users (id, email, name) values (gen_random_uuid(), 'ann@example.com', 'Ann'), (gen_random_uuid(), 'bob@example.com', 'Bob');
insert into projects (user_id, id, name) select u.id, gen_random_uuid(), 'p' || n from users u, generate_series(1, 3) n where u.status = 'active';`;

describe('our own schema', () => {
  let database: TestDatabase;
  let client: pg.Client;

  beforeAll(async () => {
    database = await createDatabase('isolated');
    await withOwner(database.url, closeDatabase);
    await statement(database.url, people);
    client = new pg.Client({ connectionString: database.url });
    await client.connect();
  });
  afterAll(async () => {
    await client.end();
    await database.drop();
  });

  const contents = async () => {
    const counts = ownSchema.owned.map(
      ({ table }) => `select '${table}', count(*), md5(string_agg(t::text, '' order by t::text)) from ${table} t`,
    );
    const { rows } = await client.query({
      text: `${counts.join(' union all ')} union all select 'keys', count(*), '' from ringfence.identity_keys`,
      rowMode: 'array',
    });
    // Advisory locks of other databases show as well: other tests run on this server.
    const { rows: locks } = await client.query(
      `select count(*)::int as n from pg_locks where locktype = 'advisory'
         and database = (select oid from pg_database where datname = current_database())`,
    );
    return { rows, locks };
  };

  test('is clean, and nothing is left behind', { timeout: 120_000 }, async () => {
    const before = await contents();
    const result = await deep(database.url, own);
    expect(failures(result.findings)).toEqual([]);
    expect(await contents()).toEqual(before);
    const { sample, closure } = result;
    expect(sample).toMatchObject({ refusal: null, attempts: attemptsMax });
    expect(sample.unplanted).toEqual([]);
    expect(sample.tables).toBe(ownSchema.owned.length);
    expect(sample.attacks.size).toBeGreaterThan(50);
    expect(closure?.objects.length).toBeGreaterThan(20);

    const page = deepPage(result, { version: '1.2.3', planHash: null, isOwn: true });
    const text = textOf(page);
    for (const part of [
      'table public.tasks',
      'UNION arm that changes who one is',
      'row-estimates',
      'Fingerprint',
      'Signature',
    ]) {
      expect(text).toContain(part);
    }
    const html = htmlOf(page);
    expect(html).not.toMatch(/<script|https?:|src=|href=/i);
    expect(html).toContain('prefers-color-scheme: dark');
    // No mark leaves the transaction, on no way.
    expect(JSON.stringify(result) + text + html).not.toMatch(/rfc[0-9a-f]{24}/);
  });

  /** Found by being attacked, though nothing in the catalogue were looked at. */
  test.each([
    [
      'a policy that is always true',
      'alter policy user_isolation on labels using (true) with check (true)',
      'public.labels',
    ],
    ['a further policy that shows all', 'create policy more on labels for select using (true)', 'public.labels'],
    [
      'a verifier that believes the setting',
      `create or replace function ringfence.verified_user_id(loud boolean) returns uuid language sql stable as
        $$ select nullif(left(current_setting('ringfence.identity', true), 36), '')::uuid $$`,
      'public.projects',
    ],
    ['a key over all users', 'alter table labels add constraint once unique (id)', 'public.labels'],
  ])('%s goes through', { timeout: 120_000 }, async (_, defect, table) => {
    const spoilt = await createDatabase('isolated');
    try {
      await withOwner(spoilt.url, closeDatabase);
      await statement(spoilt.url, defect);
      expect(named(await deep(spoilt.url, own))).toContain(`hostile-sample ${table}`);
    } finally {
      await spoilt.drop();
    }
  });

  test('an application that could do harm is not let loose', { timeout: 60_000 }, async () => {
    const role = `mighty_${randomBytes(4).toString('hex')}`;
    await statement(database.url, `create role ${role} bypassrls`);
    try {
      const ownership = { ...ownSchema, appRole: role };
      const result = await deep(database.url, { ...own, ownership });
      expect(result.sample).toMatchObject({ attempts: 0, refusal: 'the application’s role could do harm where it is' });
      expect(named(result)).toContain('hostile-sample ');
    } finally {
      await statement(database.url, `drop role ${role}`);
    }
  });

  test('it keeps to its pace, and ends in time', { timeout: 60_000 }, async () => {
    const result = await deep(database.url, own, { statementsPerSecond: 100, maxSeconds: 1 });
    // What ends an attempt is let through at once and is counted too: at most one for each that waits. Unpaced it would be 500.
    expect(result.statements).toBeLessThan(220);
    expect(named(result)).toContain('hostile-sample ');
    expect(
      failures(result.findings)
        .map(({ message }) => message)
        .join(),
    ).toContain('the time of 1 s was up');
    expect((await contents()).rows).toBeTruthy();
  });
});

describe('anybody’s database, by its owner who is no superuser', () => {
  const directory = mkdtempSync(join(tmpdir(), 'ringfence-deep-'));
  // Roles are the server's: who makes one, here the same owner for all shapes, is who may grant it.
  const owner = 'deep_owner';
  let server: Server;
  beforeAll(async () => {
    server = await openServer();
  });
  afterAll(async () => {
    await server?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  test.each(shapes.filter(({ template }) => template === undefined).map((shape) => [shape.name, shape] as const))(
    '%s',
    { timeout: 300_000 },
    async (_, shape) => {
      const legacy = `deep_legacy_${randomBytes(4).toString('hex')}`;
      const database = await server.fresh(shape);
      const { pathname } = new URL(database.url);
      await statement(
        database.url,
        `do $$ begin create role ${owner} login password 'x' createrole; exception when duplicate_object then null; end $$;
          create role ${legacy}; alter database ${pathname.slice(1)} owner to ${owner}`,
      );
      const url = new URL(database.url);
      [url.username, url.password] = [owner, 'x'];
      try {
        await statement(url.href, shape.sql(legacy));
        const file = join(directory, `${legacy}.json`);
        writeFileSync(file, JSON.stringify({ legacyRoles: [legacy], ...shape.config }));
        const config = await loadRolloutConfig(file, directory);
        const plan: Plan = await withConnection(
          url.href,
          'test',
          async (client) => (await resolvePlan(client, config)).plan,
        );
        const at = async (reached: Phase) => {
          await applyPlan(url.href, plan, { until: reached });
          return deep(url.href, { ownership: plan.ownership, extras: plan.extras, reached }, fast, 200);
        };
        const cut = await at('cutover');
        expect(failures(cut.findings)).toEqual([]);
        const result = await at('contract');
        expect(failures(result.findings)).toEqual([]);
        expect(result.sample.attempts).toBeGreaterThan(50);
        expect(result.about.superuser).toBe(false);
      } finally {
        await database.drop([]);
      }
    },
  );
});
