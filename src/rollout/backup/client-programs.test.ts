import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { findClientPrograms, runClientProgram, targetOf } from './client-programs.ts';

const root = mkdtempSync(join(tmpdir(), 'ringfence-programs-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

function program(name: string, script: string): string {
  const path = join(root, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

describe('which pg_dump', () => {
  // Versions that no machine has, so that what is installed where the tests run does not matter.
  test('the one of the server, or the next newer, never an older one or one without its pg_restore', async () => {
    const place = (major: string, names: string[]) => {
      const directory = mkdtempSync(join(root, 'bin-'));
      for (const name of names) {
        const path = join(directory, name);
        writeFileSync(path, `#!/bin/sh\necho "${name} (PostgreSQL) ${major}.1"\n`);
        chmodSync(path, 0o755);
      }
      return directory;
    };
    const both = ['pg_dump', 'pg_restore'];
    const [v90, v91, v92, v93] = [place('90', both), place('91', both), place('92', both), place('93', ['pg_dump'])];
    const PATH = [v92, v93, v91, v90, 'relative', '/nonexistent'].join(':');
    expect((await findClientPrograms(91_00_02, { PATH }))?.dump).toBe(join(v91, 'pg_dump'));
    expect(await findClientPrograms(90_00_00, { PATH: v92 })).toEqual({
      dump: join(v92, 'pg_dump'),
      restore: join(v92, 'pg_restore'),
      version: 'pg_dump (PostgreSQL) 92.1',
    });
    expect(await findClientPrograms(93_00_00, { PATH })).toBeNull();
    expect(await findClientPrograms(93_00_00, {})).toBeNull();
  });
});

describe('where the database is', () => {
  test('the password goes by the environment, whatever characters it has', () => {
    const { connection, environment } = targetOf('postgres://me:p%40ss%2Fword@db:5433/app?sslmode=no-verify&max=3', {
      PATH: '/bin',
      SECRET: 'x',
      PGSSLROOTCERT: 'ca.pem',
    });
    expect(connection).toBe('postgres://me@db:5433/app?sslmode=require');
    expect(environment).toMatchObject({ PGPASSWORD: 'p@ss/word', PATH: '/bin', PGSSLROOTCERT: 'ca.pem' });
    expect(environment).not.toHaveProperty('SECRET');
    const byParameter = targetOf('postgres://me@db/app?password=hush&application_name=a', {});
    expect(byParameter.connection).toBe('postgres://me@db/app?application_name=a');
    expect(byParameter.environment.PGPASSWORD).toBe('hush');
    expect(targetOf('postgres://me@db/app', { PGPASSFILE: '/x' }).environment).not.toHaveProperty('PGPASSWORD');
  });
});

describe('what is shown', () => {
  test('is the first line of errors, without values of rows', async () => {
    const failing = program(
      'failing',
      `echo 'pg_restore: error: could not execute query: ERROR:  could not create unique index "u"
DETAIL:  Key (email)=(secret@example.com) is duplicated.
pg_restore: error: COPY failed for table "a""b": ERROR:  invalid input syntax for type integer: "secret"
CONTEXT:  COPY a, line 1, column x: "secret"
pg_restore: warning: errors ignored on restore: 2' >&2; exit 1`,
    );
    const { code, errors } = await runClientProgram(failing, [], {}, new AbortController().signal);
    expect(code).toBe(1);
    expect(errors).toEqual([
      'could not execute query: ERROR:  could not create unique index "u"',
      'COPY failed for table "a""b"',
    ]);
  });

  test('an interruption ends the program', async () => {
    const interrupted = new AbortController();
    const running = runClientProgram(program('slow', 'exec sleep 60'), [], {}, interrupted.signal);
    interrupted.abort(new Error('enough'));
    await expect(running).rejects.toThrow('enough');
    await expect(runClientProgram(join(root, 'none'), [], {}, new AbortController().signal)).rejects.toThrow(
      'cannot be run',
    );
  });
});
