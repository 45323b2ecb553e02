/** Runs bin/ringfence as a child process, the way somebody at a terminal does. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';

const program = fileURLToPath(new URL('../../bin/ringfence', import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
}

/** Only what a shell needs: settings of whoever runs the tests must not reach the program. */
const shellEnv = { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '' };

function start(args: readonly string[], { env = {} }: RunOptions): { child: ChildProcess; outcome: Promise<Outcome> } {
  const child = spawn('sh', [program, ...args], { env: { ...shellEnv, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
  const out = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (out.stderr += text));
  child.stdin.on('error', () => {});
  const outcome = once(child, 'close').then(([code, signal]) => ({ code, signal, ...out }));
  return { child, outcome };
}

export async function ringfence(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const { child, outcome } = start(args, options);
  child.stdin?.end(options.input ?? '');
  return outcome;
}

export interface ServingProcess {
  readonly url: string;
  readonly pid: number;
  /** Everything said on standard error until it was ready. */
  readonly welcome: string;
  /** Sends the signal and waits for the end. */
  end(signal?: NodeJS.Signals): Promise<Outcome>;
}

const running = new Set<ChildProcess>();

/** `ringfence serve` on a free port; resolves when it says where it serves. */
export async function serving(env: Readonly<Record<string, string>>): Promise<ServingProcess> {
  const { child, outcome } = start(['serve'], { env: { PORT: '0', ...env } });
  running.add(child);
  void outcome.then(() => running.delete(child));
  let welcome = '';
  const ready = new Promise<string>((resolve) => {
    child.stderr?.on('data', (text: string) => {
      welcome += text;
      const url = /serves on (http:\S+)/.exec(welcome)?.[1];
      // The welcome is written in one go; its last line is the second command to try.
      if (url !== undefined && welcome.includes('/api/tasks')) resolve(url);
    });
  });
  const url = await Promise.race([
    ready,
    outcome.then(({ code, stderr }) => {
      throw new Error(`serve ended with ${code}: ${stderr}`);
    }),
  ]);
  return {
    url,
    pid: child.pid ?? 0,
    welcome,
    async end(signal = 'SIGINT') {
      child.kill(signal);
      return outcome;
    },
  };
}

const directories: string[] = [];

/** A directory that is removed, and servers that are stopped, when the file's tests are over. */
export function temporaryDirectory(): string {
  if (directories.length === 0) afterAll(cleanUp, 60_000);
  const directory = mkdtempSync(join(tmpdir(), 'ringfence-process-'));
  directories.push(directory);
  return directory;
}

async function cleanUp(): Promise<void> {
  const ended = [...running].map((child) => once(child, 'close'));
  for (const child of running) child.kill('SIGINT');
  await Promise.all(ended);
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
}
