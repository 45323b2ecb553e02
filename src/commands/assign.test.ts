import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createDatabase, statement, type TestDatabase } from '../../test/support/postgres.ts';
import { testSecret } from '../../test/support/templates.ts';
import { type Config, loadConfig } from '../config.ts';
import { withRolloutLock } from '../rollout/run/lock.ts';
import { type AssignFlags, runAssign, runAssignTransfer } from './assign.ts';

const [ann, bob] = ['aaaaaaaa-0000-4000-8000-000000000001', 'bbbbbbbb-0000-4000-8000-000000000001'];
const project = '00000000-0000-7000-8000-000000000001';

let database: TestDatabase;
let config: Config;
let directory: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'ringfence-assign-'));
  database = await createDatabase('isolated');
  config = loadConfig({ DATABASE_URL: database.url, JWT_SECRET_KEY: testSecret });
  await statement(
    database.url,
    `insert into users (id, email, name) values ('${ann}', 'ann@example.com', 'Ann'), ('${bob}', 'bob@example.com', 'Bob');
    insert into projects (user_id, id, name) values ('00000000-0000-4000-8000-000000000000', '${project}', 'one')`,
  );
});
afterAll(async () => {
  await database.drop();
  rmSync(directory, { recursive: true, force: true });
});

/** What is printed, and the exit code. */
async function run(work: () => Promise<0 | 1>): Promise<{ code: 0 | 1; output: string }> {
  const print = vi.spyOn(console, 'log').mockImplementation(() => {});
  try {
    const code = await work();
    return { code, output: print.mock.calls.map(([line]) => String(line)).join('\n') };
  } finally {
    print.mockRestore();
  }
}

function list(content: string): string {
  const path = join(directory, 'owners.csv');
  writeFileSync(path, content);
  return path;
}

test('from a dry run to a transfer', async () => {
  const csv = list(`id,user\n${project},ann@example.com\n`);
  const flags = { table: 'public.projects', csv, userColumn: 'email' };
  const planned = await run(() => runAssign(config, { ...flags, dryRun: true }));
  expect(planned.code).toBe(0);
  expect(planned.output).toContain('1 row would get another owner, 1 of them named.');
  const done = await run(() => runAssign(config, { ...flags, json: true }));
  expect(JSON.parse(done.output)).toMatchObject({ listed: 1, rows: 1, moves: [{ table: 'public.projects', to: ann }] });
  const transfer = { table: 'public.projects', key: [project], to: 'bob@example.com', userColumn: 'email' };
  expect((await run(() => runAssignTransfer(config, transfer))).output).toContain('1 row got another owner');
  expect((await run(() => runAssignTransfer(config, transfer))).output).toBe('No row changes its owner.');
});

test('what a migration put in quarantine goes with its labels and contexts', async () => {
  const id = (n: number) => `00000000-0000-7000-8000-0000000001${String(n).padStart(2, '0')}`;
  const nobody = '00000000-0000-4000-8000-000000000000';
  const [mine, branch, task, label, tie, everybodys, context] = [1, 2, 3, 4, 5, 6, 7].map(id);
  await statement(
    database.url,
    `insert into projects (user_id, id, name) values ('${nobody}', '${mine}', 'labelled');
    insert into project_git_branchs (user_id, id, project_id, name) values ('${nobody}', '${branch}', '${mine}', 'main');
    insert into tasks (user_id, id, git_branch_id, title, description) values ('${nobody}', '${task}', '${branch}', 'one', 'one');
    insert into labels (user_id, id, name) values ('${nobody}', '${label}', 'red');
    insert into task_labels (user_id, id, task_id, label_id) values ('${nobody}', '${tie}', '${task}', '${label}');
    insert into global_contexts (user_id, id) values ('${nobody}', '${everybodys}');
    insert into project_contexts (user_id, id, project_id, parent_global_id) values ('${nobody}', '${context}', '${mine}', '${everybodys}')`,
  );
  const flags = { table: 'public.projects', where: `id = '${mine}'`, to: ann };
  const refused = await run(() => runAssign(config, flags));
  expect(refused.code).toBe(1);
  expect(refused.output).toContain('stays in quarantine (--with-references takes it along)');
  expect(await run(() => runAssign(config, { ...flags, withReferences: true }))).toMatchObject({
    code: 0,
    output: expect.stringContaining('7 rows got another owner, 1 of them named.'),
  });
});

test('rows that are not there are exit code 1', async () => {
  const csv = list(`id,user\n${project.replace(/1$/, '2')},${ann}\n`);
  const { code, output } = await run(() => runAssign(config, { table: 'public.projects', csv }));
  expect(code).toBe(1);
  expect(output).toMatch(
    /^1 row of the list is not there; nothing was changed \(--skip-missing passes it over\):\n {2}line 2: /,
  );
  expect(await run(() => runAssign(config, { table: 'public.projects', csv, skipMissing: true }))).toMatchObject({
    code: 0,
  });
});

test('a header alone is told', async () => {
  const { output } = await run(() => runAssign(config, { table: 'public.projects', csv: list('id,user\n') }));
  expect(output).toBe('The list has a header and nothing else. No row changes its owner.');
});

test.each<[AssignFlags, RegExp]>([
  [{}, /one of --csv, --where and --by-rule/],
  [{ csv: 'x', byRule: true }, /not by --csv and --by-rule/],
  [{ csv: 'x' }, /--table: is required/],
  [{ table: 'public.projects', where: 'true' }, /--to: is required/],
  [{ table: 'public.projects', csv: 'x', to: ann }, /--to: goes with --where/],
  [{ table: 'public.projects', where: 'true', to: ann, skipMissing: true }, /--skip-missing: goes with --csv/],
])('%j is wrong usage', async (flags, sentence) => {
  await expect(runAssign(config, flags)).rejects.toMatchObject({
    code: 'usage_error',
    message: expect.stringMatching(sentence),
  });
});

test('while another command of the rollout is at work only a dry run goes', async () => {
  await withRolloutLock(database.url, 'apply', async () => {
    const flags = { table: 'public.projects', where: 'true', to: ann };
    expect((await run(() => runAssign(config, { ...flags, dryRun: true }))).code).toBe(0);
    await expect(runAssign(config, flags)).rejects.toMatchObject({ code: 'rollout_in_progress' });
  });
});
