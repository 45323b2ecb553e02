/** Starts the old application beside this process, and hears from it. */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { problem } from '../../errors.ts';
import type { Change, Figures, Sizes } from './old-application.ts';

const sum = z.object({ rows: z.string(), hash: z.string() });

const report = z.union([
  z.literal('started'),
  z.object({
    figures: z.array(
      z.object({
        name: z.string(),
        kind: z.enum(['write', 'read']),
        done: z.int(),
        failed: z.int(),
        firstFault: z.string().nullable(),
        lastMs: z.number(),
        longestMs: z.number(),
        longestDuring: z.string(),
        atWorkMs: z.number(),
      }),
    ),
  }),
  z.object({
    stopped: z.object({
      users: sum.optional(),
      projects: sum.optional(),
      tasks: sum.optional(),
      comments: sum.optional(),
    }),
  }),
  z.object({ fault: z.string() }),
]);

export interface BackgroundApplication {
  /** The last that was heard. */
  figures(): readonly Figures[];
  during(what: string): void;
  stop(): Promise<Change>;
  /** For when all is to end at once. Resolves when the process is gone. */
  kill(): Promise<void>;
}

/** Built, the sources are JavaScript. */
const program = fileURLToPath(
  new URL(`./old-application-process.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url),
);

/** @throws Problem `rollout_failed` when it cannot work */
export async function startInBackground(url: string, sizes: Sizes): Promise<BackgroundApplication> {
  const child = fork(program, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
  let figures: readonly Figures[] = [];
  let change: Change | undefined;
  let fault: string | undefined;
  const started = Promise.withResolvers<void>();
  const ended = once(child, 'exit').then(() => {
    const reason = fault ?? 'its process ended';
    started.reject(problem('rollout_failed', `The demo's old application cannot work: ${reason}`));
  });
  started.promise.catch(() => {});
  child.on('message', (message) => {
    const heard = report.parse(message);
    if (heard === 'started') started.resolve();
    else if ('figures' in heard) figures = heard.figures;
    else if ('stopped' in heard) change = asChange(heard.stopped);
    else fault = heard.fault;
  });
  send(child, { start: { url, sizes } });
  await started.promise;
  return {
    figures: () => figures,
    during: (what) => send(child, { during: what }),
    async stop() {
      send(child, 'stop');
      await ended;
      if (change === undefined)
        throw problem('rollout_failed', `The demo's old application broke: ${fault ?? 'no reason'}`);
      return change;
    },
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await ended;
    },
  };
}

function send(child: ChildProcess, message: object | string): void {
  if (child.connected) child.send(message);
}

function asChange(stopped: Readonly<Record<string, { rows: string; hash: string } | undefined>>): Change {
  return Object.fromEntries(Object.entries(stopped).filter(([, value]) => value !== undefined));
}
