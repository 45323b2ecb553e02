/** The script in one transaction leaves what the other verbs need: they go on as after an apply. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { killAt, plantGate } from './gate.ts';
import { same } from './lifecycle.ts';
import { openServer, type Server } from './server.ts';
import { textKeys } from './shapes/text-keys.ts';
import { none, Stage } from './stage.ts';

let server: Server;
beforeAll(async () => {
  server = await openServer();
});
afterAll(() => server?.stop());

const rollback = ['rollback', '--level', 'database', '--yes'] as const;

test('verify, status, monitor and rollback after a script in one transaction', { timeout: 180_000 }, async () => {
  const stage = await Stage.open(textKeys, await server.fresh(textKeys), { writers: 1 });
  try {
    await stage.asOwner((client) => client.query('create extension pg_stat_statements'));
    expect((await stage.run(1, ...rollback)).stderr).toContain('No plan is in force');
    const nothing = await stage.run(0, 'rollback', '--level', 'app', '--json');
    expect(JSON.parse(nothing.stdout)).toMatchObject({ summary: null, comparisons: [] });
    const { stdout: script, stderr: said } = await stage.run(0, 'plan', '--sql', '--one-transaction');
    expect(said).toContain(`this is the embedded database in ${server.dataDir}.`);
    await stage.asOwner((client) => client.query(script));
    none('owners', await stage.faultsInOwners());

    const status = JSON.parse((await stage.run(0, 'status', '--json')).stdout);
    expect(status).toMatchObject({ reached: 'contract', interrupted: false, done: status.steps });
    expect(status.steps).toBeGreaterThan(20);
    await stage.run(0, 'verify');
    // What the test itself has asked, without an owner, is nothing to monitor.
    await stage.asOwner((client) => client.query('select pg_stat_statements_reset()'));
    const monitor = JSON.parse((await stage.run(0, 'monitor', '--json')).stdout);
    expect(monitor.findings).toContainEqual(expect.objectContaining({ check: 'drift', severity: 'pass' }));
    expect((await stage.run(0, 'apply', '--until', 'contract')).stdout).toContain('Nothing was left to do.');

    // There is no old application that it could bring back, and no phase that stands by itself.
    expect((await stage.run(1, 'rollback', '--level', 'app')).stderr).toContain('as a whole');
    expect((await stage.run(1, 'rollback', '--level', 'database', '--to', 'keys', '--yes')).stderr).toContain(
      'as a whole',
    );

    await stage.asOwner((client) => client.query('drop extension pg_stat_statements'));
    await plantGate(stage);
    expect(await killAt(stage, { step: 'cutover/policies', state: 'undone' }, rollback)).toBe(true);
    expect((await stage.run(1, 'apply')).stderr).toContain('a part of it was taken back');
    await stage.run(0, ...rollback);
    same(await stage.schemaNow(), stage.schemaBefore, 'after the rollback');
    // As after one that was killed behind its last step.
    expect((await stage.run(0, ...rollback)).stdout).toContain('the database needs no change');
    none('rows', await stage.faultsInRows());

    await stage.run(0, 'apply');
    await stage.run(0, 'verify');
    none('owners', await stage.faultsInOwners());
    // What an apply has begun is not run over by the script, nor by the one that takes it back.
    await expect(stage.asOwner((client) => client.query(script))).rejects.toMatchObject({ code: 'RF014' });
  } finally {
    await stage.close();
  }
});
