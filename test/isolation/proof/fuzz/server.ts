/** Starts the server under attack, and reads afterwards what it wrote. */
import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { withOwner } from '../../../../src/database/owner.ts';
import { testSecret } from '../../../support/templates.ts';
import type { ProofContext } from '../part.ts';

const program = fileURLToPath(new URL('server-process.ts', import.meta.url));
const memorySchema = z.object({ heapUsed: z.number(), external: z.number(), rss: z.number() });
export type Memory = z.infer<typeof memorySchema>;

export interface Target {
  readonly url: string;
  /** The owner's, of the database that is served. */
  readonly ownerUrl: string;
  /** After a full garbage collection, in bytes. */
  memory(): Promise<Memory>;
  /** Lines of the two logs, as they are now. */
  logs(): { readonly application: readonly string[]; readonly security: readonly string[] };
  isAlive(): boolean;
  close(): Promise<void>;
}

const patienceMs = 120_000;

export async function startTarget(context: ProofContext, planted: boolean): Promise<Target> {
  const name = `fuzz_${randomBytes(6).toString('hex')}`;
  const onServer = (sql: string) => withOwner(context.postgresUrl, (owner) => owner.query(sql));
  await onServer(`create database ${name} template ${context.templates.isolated} strategy wal_log`);
  const ownerUrl = Object.assign(new URL(context.postgresUrl), { pathname: `/${name}` }).href;
  const logDir = mkdtempSync(join(tmpdir(), 'ringfence-fuzz-'));
  const child = fork(program, {
    execArgv: ['--expose-gc'],
    // Standard output would be the log once more.
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: {
      PATH: process.env.PATH,
      DATABASE_URL: ownerUrl,
      JWT_SECRET_KEY: testSecret,
      CREDENTIAL_RATE_LIMIT_PER_MINUTE: '0',
      PORT: '0',
      LOG_DIR: logDir,
      ...(planted ? { RINGFENCE_FUZZ_PLANTED: '1' } : {}),
    },
  });
  let said = '';
  child.stderr?.on('data', (chunk) => {
    said = (said + String(chunk)).slice(-4_000);
  });
  const ended = once(child, 'exit');
  const next = async (): Promise<unknown> => {
    const signal = AbortSignal.timeout(patienceMs);
    const exit = ended.then(() => Promise.reject(new Error(`the server ended: ${said}`)));
    const [message] = await Promise.race([once(child, 'message', { signal }), exit]);
    return message;
  };
  const close = async () => {
    if (child.connected) child.send('stop');
    const timer = setTimeout(() => child.kill('SIGKILL'), patienceMs / 2);
    await ended;
    clearTimeout(timer);
    await onServer(`drop database ${name} with (force)`);
    rmSync(logDir, { recursive: true, force: true });
  };
  const linesOf = (file: string) =>
    readFileSync(join(logDir, file), 'utf8')
      .split('\n')
      .filter((line) => line !== '');
  try {
    const { url } = z.object({ url: z.string() }).parse(await next());
    return {
      url,
      ownerUrl,
      async memory() {
        const answer = next();
        child.send('memory');
        return memorySchema.parse(await answer);
      },
      logs: () => ({ application: linesOf('application.log'), security: linesOf('security.log') }),
      isAlive: () => child.exitCode === null && child.signalCode === null,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
