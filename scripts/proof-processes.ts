/** Parts of the proof, each in a process of its own: they share no Postgres, no event loop and no memory. */
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { ProofContext, ProofPart } from '../test/isolation/proof/part.ts';
import type { PartReport } from './proof-report.ts';

type Run = Pick<ProofContext, 'seed' | 'size' | 'say' | 'signal'>;

const atOnce = 2;
const script = fileURLToPath(new URL('proof.ts', import.meta.url));
const told = z.object({
  parts: z.tuple([
    z.object({
      name: z.string(),
      title: z.string(),
      seconds: z.number(),
      figures: z.record(z.string(), z.union([z.number(), z.string()])),
      faults: z.array(z.string()),
    }),
  ]),
});

/** @param done told of each part when it is over */
export async function runInProcesses(
  parts: readonly ProofPart[],
  run: Run,
  done: (part: PartReport) => void,
): Promise<PartReport[]> {
  const results = new Map<string, PartReport>();
  const waiting = parts.filter(({ alone }) => alone !== true);
  const goOn = async () => {
    for (let part = waiting.shift(); part && !run.signal.aborted; part = waiting.shift()) await runOne(part);
  };
  const runOne = async (part: ProofPart) => {
    const result = await inProcess(part, run);
    results.set(part.name, result);
    done(result);
  };
  await Promise.all(Array.from({ length: atOnce }, goOn));
  for (const part of parts.filter(({ alone }) => alone === true)) if (!run.signal.aborted) await runOne(part);
  return parts.map(
    ({ name, title }) =>
      results.get(name) ?? { name, title, seconds: 0, figures: {}, faults: ['interrupted before it began'] },
  );
}

async function inProcess({ name, title }: ProofPart, { seed, size, signal }: Run): Promise<PartReport> {
  const since = performance.now();
  const options = ['--only', name, '--seed', String(seed), '--json', ...(size === 'short' ? ['--short'] : [])];
  const child = spawn(process.execPath, [...process.execArgv, script, ...options], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const interrupt = () => child.kill('SIGINT');
  signal.addEventListener('abort', interrupt);
  const ended = new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, killedBy) => resolve(killedBy ?? `exit code ${code}`));
  });
  try {
    const [output, how] = await Promise.all([text(child.stdout), ended]);
    const [result] = told.safeParse(parse(output)).data?.parts ?? [];
    const seconds = (performance.now() - since) / 1000;
    return result ?? { name, title, seconds, figures: {}, faults: [`ended without a result: ${how}`] };
  } finally {
    signal.removeEventListener('abort', interrupt);
  }
}

function parse(output: string): unknown {
  try {
    return JSON.parse(output);
  } catch {
    return undefined;
  }
}
