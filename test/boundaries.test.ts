/** The rules about who may import what bite, and say why. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
let tree: string;

beforeAll(() => {
  tree = mkdtempSync(join(tmpdir(), 'ringfence-boundaries-'));
  for (const file of ['biome.json', '.gitignore']) copyFileSync(join(root, file), join(tree, file));
});
afterAll(() => rmSync(tree, { recursive: true, force: true }));

/** Lints one file that stands at the given place. */
function lint(path: string, source: string): string {
  mkdirSync(dirname(join(tree, path)), { recursive: true });
  writeFileSync(join(tree, path), source);
  const { stdout, stderr } = spawnSync(join(root, 'node_modules/.bin/biome'), ['lint', '--colors=off', path], {
    cwd: tree,
    encoding: 'utf8',
  });
  return stdout + stderr;
}

test.each([
  ['src/contract/x.ts', '../errors.ts', 'The contract is read by the browser too'],
  ['src/isolation/x.ts', '../repositories/projects.ts', 'The isolation core knows nothing of the product'],
  ['src/isolation/x.ts', '../config.ts', 'The isolation core knows nothing of the product'],
  ['src/rollout/x.ts', '../database/owner.ts', 'The rollout knows Postgres and nothing of our product'],
  ['src/rollout/x.ts', '../config.ts', 'The rollout knows Postgres and nothing of our product'],
  ['src/repositories/x.ts', '../work/change.ts', 'SQL does not know requests or rules'],
  ['src/work/x.ts', 'pg', 'Only src/database, src/isolation and the repositories speak to Postgres'],
  ['src/work/x.ts', '../http/reply.ts', 'An operation takes a scope and plain values'],
  ['src/access/x.ts', 'fastify', 'Access decides who somebody is'],
  ['src/http/x.ts', 'pg', 'Only src/database, src/isolation and the repositories speak to Postgres'],
  ['src/http/routes/x.ts', 'kysely', 'SQL lives in src/repositories'],
  ['src/commands/x.ts', 'pg', 'Only src/database, src/isolation and the repositories speak to Postgres'],
])('%s may not import %s', (path, target, sentence) => {
  expect(lint(path, `import * as it from '${target}';\nexport const x = it;\n`)).toContain(sentence);
});

test('a permitted import passes', () => {
  const output = lint('src/http/y.ts', "import { problem } from '../errors.ts';\nexport const x = problem;\n");
  expect(output).toContain('Checked 1 file');
  expect(output).not.toContain('noRestrictedImports');
});

test('only the configuration reads the environment', () => {
  const source = 'export const x = process.env.HOME;\n';
  expect(lint('src/work/y.ts', source)).toContain('noProcessEnv');
  expect(lint('src/config.ts', source)).not.toContain('noProcessEnv');
});
