/** The demo as somebody runs it who has just installed it, small; and that nothing of it stays. */
import { readdirSync } from 'node:fs';
import { expect, test, vi } from 'vitest';
import { startCommand } from '../../test/rollout/command.ts';
import { createDatabase, statement } from '../../test/support/postgres.ts';
import { temporaryDirectory } from '../../test/support/ringfence.ts';
import { clusterProcesses } from '../database/processes.ts';

vi.setConfig({ testTimeout: 180_000 });

const run = (temporary: string, ...args: string[]) =>
  startCommand(['demo', '--rows', '5000', ...args], { TMPDIR: temporary }, temporary);

const well = {
  failed: 0,
  equal: true,
  rows: 5000,
  verify: { fail: 0, probedTables: 4 },
  apply: { displaced: 0 },
};

test('isolates, proves, takes back, loses nothing and leaves nothing', async () => {
  const temporary = temporaryDirectory();
  const { code, stdout, stderr } = await run(temporary, '--json').outcome;
  expect(stderr).toMatch(/Ctrl-C removes what was made[\s\S]*cutover {2}done[\s\S]*cutover {2}taken back/);
  const result = JSON.parse(stdout);
  expect(result).toMatchObject(well);
  expect(result.writes).toBeGreaterThan(100);
  expect(result.reads).toBeGreaterThan(10);
  expect(result.comparison).toHaveLength(4);
  expect(
    result.comparison.map((one: { rowsWritten: string }) => Number(one.rowsWritten)).some((n: number) => n > 0),
  ).toBe(true);
  expect(result.attempts.map((one: { asItShould: boolean }) => one.asItShould)).toEqual(Array(8).fill(true));
  expect(result.attempts.at(-1).answer).toMatch(/^RF002/);
  expect(code).toBe(0);
  expect(readdirSync(temporary)).toEqual([]);
});

test('interrupted in the middle, it removes what it made', async () => {
  const temporary = temporaryDirectory();
  const { child, outcome } = run(temporary);
  await new Promise<void>((resolve, reject) => {
    let said = '';
    child.stderr?.on('data', (text: string) => {
      said += text;
      if (said.includes('Isolating it')) resolve();
    });
    void outcome.then(({ stderr }) => reject(new Error(stderr)));
  });
  const [directory = ''] = readdirSync(temporary);
  child.kill('SIGINT');
  const { code, stdout, stderr } = await outcome;
  expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
  expect(stderr).toMatch(/ringfence: Interrupted; what was made is removed\.\n$/);
  expect(directory).toMatch(/^ringfence-demo-/);
  expect(readdirSync(temporary)).toEqual([]);
  expect(clusterProcesses(`${temporary}/${directory}/postgres`)).toEqual([]);
});

test('--here uses a new database of a server, and nothing is left in it', async () => {
  const database = await createDatabase();
  const present = async () => {
    const { rows } = await statement(
      database.url,
      `select datname::text as name from pg_database where datname like 'ringfence_demo_%'
      union all select rolname::text from pg_roles where rolname like 'demo_application_%'`,
    );
    return rows;
  };
  const temporary = temporaryDirectory();
  const { stdout, stderr, code } = await startCommand(
    ['demo', '--rows', '5000', '--here', '--json'],
    { DATABASE_URL: database.url },
    temporary,
  ).outcome;
  expect(stderr).toContain('in a new database of that server');
  expect(JSON.parse(stdout)).toMatchObject(well);
  expect(code).toBe(0);
  expect(await present()).toEqual([]);
  await database.drop();
});

test('--here without a server is a wrong use', async () => {
  const { code, stderr } = await run(temporaryDirectory(), '--here').outcome;
  expect(code).toBe(2);
  expect(stderr).toMatch(/--here: needs DATABASE_URL/);
});
