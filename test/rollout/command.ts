/** The command line as a child process that can be killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/**
 * Without the shell before it, and what is compiled is kept: a start takes 0.14 s of processor time instead of 0.34, and
 * the whole form of the tests makes some ten thousand.
 */
const program = fileURLToPath(new URL('../../src/cli.ts', import.meta.url));

/** Of one command on a few thousand rows, on a machine that has other things to do. */
const deadlineMs = 180_000;

export interface Outcome {
  readonly command: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  readonly child: ChildProcess;
  readonly outcome: Promise<Outcome>;
}

/** Settings of whoever runs the tests must not reach the program. */
const { PATH = '', HOME = '', NODE_COMPILE_CACHE = '' } = process.env;
const shellEnv = { PATH, HOME, NODE_COMPILE_CACHE };

export function startCommand(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  directory: string,
): Running {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program, ...args], {
    env: { ...shellEnv, ...env },
    cwd: directory,
    // Of a session of its own, as at another terminal.
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const out = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (out.stderr += text));
  const command = args.filter((arg) => !arg.includes('/')).join(' ');
  const outcome = once(child, 'close').then(([code, signal]) => ({ command, code, signal, ...out }));
  return { child, outcome };
}

/** @throws when it ends with another exit code, with everything that it said */
export async function command(
  expected: number,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  directory: string,
): Promise<Outcome> {
  const { child, outcome } = startCommand(args, env, directory);
  // One that hangs must not take what it had to say along.
  const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs);
  try {
    return demand(expected, await outcome);
  } finally {
    clearTimeout(timer);
  }
}

export function demand(expected: number, outcome: Outcome): Outcome {
  if (outcome.code === expected) return outcome;
  const ended = outcome.signal ?? `exit code ${outcome.code}`;
  throw new Error(
    `\`ringfence ${outcome.command}\` ended with ${ended}, not ${expected}\n${outcome.stdout.slice(-6000)}\n${outcome.stderr.slice(-6000)}`,
  );
}
