/** The server as a user starts it: `ringfence serve`, in a process of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export interface ServerProcess {
  readonly url: string;
  /** Milliseconds from the command to the first answer of /health. */
  readonly firstAnswerMs: number;
  memory(): Memory;
  stop(): Promise<void>;
}

/** Resident memory in MiB. */
export interface Memory {
  readonly now: number;
  readonly peak: number;
}

const command = fileURLToPath(new URL('../bin/ringfence', import.meta.url));
const startPatienceMs = 60_000;
const stopPatienceMs = 30_000;
const pollMs = 5;
const inherited = ['PATH', 'HOME', 'TMPDIR', 'LANG'];

/** @param variables of the configuration, beside which nothing of ours is taken from the environment */
export async function startServerProcess(
  variables: Readonly<Record<string, string>>,
  onStart: (stop: () => Promise<void>) => void,
): Promise<ServerProcess> {
  const given = Object.fromEntries(Object.entries(process.env).filter(([name]) => inherited.includes(name)));
  const started = performance.now();
  const child = spawn('sh', [command, 'serve'], {
    env: { ...given, ...variables, PORT: '0' },
    // Out of reach of Ctrl-C: it is stopped in order, once.
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const exited = once(child, 'exit');
  const stop = async () => {
    child.kill('SIGTERM');
    const late = await Promise.race([exited.then(() => false), delay(stopPatienceMs, true, { ref: false })]);
    if (!late) return;
    child.kill('SIGKILL');
    await exited;
    throw new Error('a server had to be killed');
  };
  onStart(stop);
  const said: string[] = [];
  const address = Promise.withResolvers<string>();
  createInterface({ input: child.stderr }).on('line', (line) => {
    said.push(line);
    const found = /serves on (http:\/\/\S+)/.exec(line)?.[1];
    if (found) address.resolve(found);
  });
  const failed = exited.then(() => {
    throw new Error(`the server did not start:\n${said.join('\n')}`);
  });
  failed.catch(() => {});
  const url = await within(startPatienceMs, Promise.race([address.promise, failed]));
  await within(startPatienceMs, firstAnswer(url));
  return {
    url,
    firstAnswerMs: performance.now() - started,
    memory: () => memoryOf(child.pid ?? 0),
    stop,
  };
}

async function firstAnswer(url: string): Promise<void> {
  while (
    !(await fetch(`${url}/health`).then(
      (answer) => answer.ok,
      () => false,
    ))
  )
    await delay(pollMs);
}

async function within<T>(ms: number, result: Promise<T>): Promise<T> {
  const impatience = new AbortController();
  const late = delay(ms, undefined, { signal: impatience.signal }).then(() => {
    throw new Error(`the server gave no answer within ${ms / 1000} s`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([result, late]);
  } finally {
    impatience.abort();
  }
}

/** proc(5): VmRSS and VmHWM in KiB. Elsewhere there is no peak, and `ps` is not asked: the figure is for Linux. */
function memoryOf(pid: number): Memory {
  if (process.platform !== 'linux') return { now: Number.NaN, peak: Number.NaN };
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024;
  return { now: field('VmRSS'), peak: field('VmHWM') };
}
