/** What other programs get: the packed package, installed and imported by its name. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
let directory: string;

beforeAll(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'ringfence-package-')));
  const packed = execFileSync('npm', ['pack', '--silent', '--pack-destination', directory], {
    cwd: root,
    encoding: 'utf8',
  });
  const home = join(directory, 'node_modules', 'ringfence');
  mkdirSync(home, { recursive: true });
  execFileSync('tar', ['-xzf', join(directory, packed.trim()), '-C', home, '--strip-components=1']);
  // Its dependencies, as npm would have put them beside it.
  symlinkSync(join(root, 'node_modules'), join(home, 'node_modules'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function run(script: string): string {
  writeFileSync(join(directory, 'program.mjs'), script);
  return execFileSync(process.execPath, ['program.mjs'], { cwd: directory, encoding: 'utf8' });
}

test('the isolation core and the guide’s middleware can be imported', () => {
  const output = run(`
    import { Isolation, deriveIdentityKey } from 'ringfence/isolation';
    import { JWTAuthMiddleware } from 'ringfence/jwt-auth-middleware';
    import { derivedUserId } from 'ringfence/derived-user-id';
    const middleware = new JWTAuthMiddleware({ secretKey: 'a secret of this test alone, 0123456789' });
    const refusal = await middleware.extractUserFromToken('nonsense').catch((error) => error.message);
    console.log(typeof Isolation, deriveIdentityKey('x').keyId.length, refusal);
    console.log(derivedUserId('public.users', '1'));
  `);
  expect(output.trim()).toBe('function 16 Invalid token\nc54f7b1f-211b-8136-83be-d74cd037a46f');
});

test('the command line runs', () => {
  const bin = join(directory, 'node_modules', 'ringfence', 'bin', 'ringfence');
  expect(execFileSync(bin, ['--version'], { encoding: 'utf8' }).trim()).toBe(manifest.version);
});

test('the package holds no sources, tests or data', () => {
  const files = execFileSync('find', ['.', '-type', 'f', '-not', '-path', './node_modules/*'], {
    cwd: join(directory, 'node_modules', 'ringfence'),
    encoding: 'utf8',
  });
  expect(files).not.toMatch(/\.test\.|\.ringfence|(?<!\.d)\.ts$/m);
  expect(files).toContain('003_add_user_isolation.sql');
});
