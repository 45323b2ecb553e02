/** Runs a verb's function as a process of its own, without the command line's parsing of flags. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Outcome } from './ringfence.ts';

export interface VerbProcess {
  readonly child: ChildProcess;
  readonly outcome: Promise<Outcome>;
  /** Resolves when standard output has matched; rejects when the process ended before. */
  until(pattern: RegExp): Promise<void>;
}

const root = new URL('../../', import.meta.url);

/** Settings of whoever runs the tests must not reach the verb. */
const { PATH = '', HOME = '', TMPDIR = '', NODE_COMPILE_CACHE = '' } = process.env;
const shellEnv = { PATH, HOME, TMPDIR, NODE_COMPILE_CACHE };

/**
 * @param module below src/commands, `monitor.ts`
 * @param call an expression over the module's exports and `env`, `config`: `runMonitor(config(), {})`
 */
export function startVerb(
  module: string,
  call: string,
  env: Readonly<Record<string, string>>,
  input = '',
): VerbProcess {
  const url = (path: string) => JSON.stringify(new URL(path, root).href);
  const program = `
    const { loadConfig } = await import(${url('src/config.ts')});
    const { Problem } = await import(${url('src/errors.ts')});
    const verb = await import(${url(`src/commands/${module}`)});
    const env = process.env, config = () => loadConfig(env);
    try { process.exitCode = await verb.${call} ?? 0; }
    catch (error) {
      if (!(error instanceof Problem)) throw error;
      process.stderr.write('ringfence: ' + error.message + '\\n');
      process.exitCode = error.kind.exit;
    }`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    cwd: fileURLToPath(root),
    env: { ...shellEnv, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const out = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (out.stderr += text));
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const outcome = once(child, 'close').then(([code, signal]) => ({ code, signal, ...out }));
  return {
    child,
    outcome,
    until: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (pattern.test(out.stdout)) resolve();
        };
        child.stdout.on('data', look);
        void outcome.then(({ stderr }) => reject(new Error(`it ended before ${pattern}: ${stderr}`)));
        look();
      }),
  };
}

export function runVerb(...parameters: Parameters<typeof startVerb>): Promise<Outcome> {
  return startVerb(...parameters).outcome;
}
