/** The rules about who may import what bite, and say why. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const biome = fileURLToPath(new URL('../node_modules/.bin/biome', import.meta.url));

function lint(path: string, source: string): string {
  try {
    return execFileSync(biome, ['lint', `--stdin-file-path=${path}`, '--colors=off'], {
      input: source,
      stdio: 'pipe',
      encoding: 'utf8',
    });
  } catch (error) {
    return error instanceof Error && 'stderr' in error ? String(error.stderr) : String(error);
  }
}

test.each([
  ['src/contract/x.ts', '../errors.ts', 'The contract is read by the browser too'],
  ['src/isolation/x.ts', '../repositories/projects.ts', 'The isolation core knows nothing of the product'],
  ['src/isolation/x.ts', '../config.ts', 'The isolation core knows nothing of the product'],
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
  expect(lint('src/http/x.ts', "import { problem } from '../errors.ts';\nexport const x = problem;\n")).not.toContain(
    'noRestrictedImports',
  );
});

test('only the configuration reads the environment', () => {
  const source = 'export const x = process.env.HOME;\n';
  expect(lint('src/work/x.ts', source)).toContain('noProcessEnv');
  expect(lint('src/config.ts', source)).not.toContain('noProcessEnv');
});
