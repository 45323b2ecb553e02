/** Foreign databases at each stage of a real rollout: verify has nothing to say that is not so. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Shape } from '../../../test/rollout/shape.ts';
import { shapes } from '../../../test/rollout/shapes/all.ts';
import { createDatabase, statement, type TestDatabase } from '../../../test/support/postgres.ts';
import { withConnection } from '../connection.ts';
import type { Finding } from '../finding.ts';
import type { Phase, Plan } from '../plan.ts';
import { resolvePlan } from '../resolve-plan.ts';
import { loadRolloutConfig } from '../rollout-config.ts';
import { applyPlan } from '../run/runner.ts';
import { readLedger } from '../state.ts';
import { reachedPhase } from './expectation.ts';
import { type Verification, verifyDatabase } from './verify.ts';

const directory = mkdtempSync(join(tmpdir(), 'ringfence-verify-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function planFor(url: string, shape: Shape, role: string): Promise<Plan> {
  const file = join(directory, `${role}.json`);
  // Who writes is connected in a real rollout; here nobody is.
  writeFileSync(file, JSON.stringify({ legacyRoles: [role], ...shape.config }));
  const config = await loadRolloutConfig(file, directory);
  return withConnection(url, 'test', async (client) => (await resolvePlan(client, config)).plan);
}

const verify = (url: string, plan: Plan): Promise<Verification> =>
  withConnection(url, 'test', async (client) => {
    const ledger = await readLedger(client, plan.hash);
    const done = new Set([...ledger].filter(([, { state }]) => state === 'done').map(([id]) => id));
    return verifyDatabase(client, {
      ownership: plan.ownership,
      reached: reachedPhase(plan, done),
      extras: plan.extras,
    });
  });

const failures = ({ findings }: Verification) => findings.filter(({ severity }) => severity === 'fail');
const checks = (findings: readonly Finding[], severity: Finding['severity']) =>
  new Set(findings.filter((finding) => finding.severity === severity).map(({ check }) => check));

describe.each(shapes.map((shape) => [shape.name, shape] as const))('%s', (_name, shape) => {
  const role = `verify_${randomBytes(5).toString('hex')}`;
  let database: TestDatabase;
  let plan: Plan;

  beforeAll(async () => {
    database = await createDatabase(shape.template);
    await statement(database.url, `create role ${role}`);
    await statement(database.url, shape.sql(role));
    plan = await planFor(database.url, shape, role);
  });

  afterAll(async () => {
    await database.drop();
  });

  const until = async (phase: Phase) => {
    await applyPlan(database.url, plan, { until: phase });
    return verify(database.url, plan);
  };

  test('before the cut-over that alone is wrong', async () => {
    for (const phase of ['owners', 'shadow'] as const) {
      expect(failures(await until(phase)), phase).toMatchObject([{ check: 'stage' }]);
    }
  }, 120_000);

  test('from the cut-over on every probe is answered as it should be', async () => {
    const result = await until('cutover');
    expect(failures(result)).toEqual([]);
    expect(checks(result.findings, 'warn')).toContain('policy-legacy');
    expect(result.summary.probedTables).toBe(result.summary.tables);
  }, 120_000);

  test('sealed and contracted', async () => {
    expect(failures(await until('seal'))).toEqual([]);
    const result = await until('contract');
    expect(failures(result)).toEqual([]);
    expect(checks(result.findings, 'warn')).not.toContain('stage');
    expect(result.summary.probedTables).toBe(result.summary.tables);
  }, 120_000);
});

describe('defects on the way', () => {
  const role = `verify_${randomBytes(5).toString('hex')}`;
  const stranger = `verify_${randomBytes(5).toString('hex')}`;
  let database: TestDatabase;
  let plan: Plan;

  beforeAll(async () => {
    const shape = shapes.find(({ name }) => name === 'partitioned');
    if (!shape) throw new Error('there is no partitioned shape');
    database = await createDatabase();
    await statement(database.url, `create role ${role}; create role ${stranger}`);
    await statement(database.url, shape.sql(role));
    plan = await planFor(database.url, shape, role);
    await applyPlan(database.url, plan, { until: 'cutover' });
  });

  afterAll(async () => {
    await statement(database.url, `drop owned by ${stranger}; drop role ${stranger}`);
    await database.drop();
  });

  const faultsAfter = async (defect: string) => {
    await statement(database.url, defect);
    return failures(await verify(database.url, plan)).map(({ check, object }) => [check, object]);
  };

  test('old writers without their trigger', async () => {
    expect(await faultsAfter('alter table remarks disable trigger ringfence_owner')).toEqual([
      ['owner-trigger', 'public.remarks'],
    ]);
    expect(await faultsAfter('alter table remarks enable trigger ringfence_owner')).toEqual([]);
  });

  test('an exemption for others than the old application', async () => {
    expect(await faultsAfter(`alter policy legacy_application on devices to ${role}, ${stranger}`)).toEqual([
      ['policy-legacy', 'public.devices'],
    ]);
    expect(await faultsAfter(`alter policy legacy_application on devices to ${role}`)).toEqual([]);
  });

  test('a key whose twin is gone cannot be swapped', async () => {
    const [twin] = (
      await statement(
        database.url,
        "select indexrelid::regclass::text as name from pg_index where indrelid = 'readings_2026_01'::regclass and indisunique and indexrelid::regclass::text like '%ringfence%'",
      )
    ).rows;
    expect(await faultsAfter(`drop index ${twin?.name}`)).toContainEqual([
      'key-without-owner',
      'public.readings_2026_01',
    ]);
  });

  test('a partition that came after the plan, or lost its walls', async () => {
    const faults = await faultsAfter(`
      drop policy user_isolation on readings_2026_02_a;
      alter table readings_2026_02_b disable row level security;
      grant select on readings_2026_02_b to ringfence_app`);
    expect(faults).toContainEqual(['policy-missing', 'public.readings_2026_02_a']);
    expect(faults).toContainEqual(['row-security', 'public.readings_2026_02_b']);
    expect(faults).toContainEqual(['probe-select', 'public.readings_2026_02_b']);
    expect(faults).toContainEqual(['probe-forgery', 'public.readings_2026_02_b']);
    expect(faults).toContainEqual(['probe-nobody', 'public.readings_2026_02_b']);
  });
});
