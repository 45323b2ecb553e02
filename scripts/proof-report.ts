/** What a run of the proof comes to: each part when it is over, and a closing page. */
import { availableParallelism, cpus, totalmem } from 'node:os';
import { type ProofContext, type ProofResult, replayOf } from '../test/isolation/proof/part.ts';

export interface PartReport extends ProofResult {
  readonly name: string;
  readonly title: string;
  readonly seconds: number;
}

export interface Report {
  readonly holds: boolean;
  readonly date: string;
  readonly seed: number;
  readonly size: ProofContext['size'];
  readonly machine: string;
  readonly seconds: number;
  readonly parts: readonly (PartReport & { readonly again: string })[];
  /** Of the run as a whole. */
  readonly faults: readonly string[];
}

/** How much a full run has to have done, by the first figure of its parts; model operations are of three parts together. */
const required: Readonly<Record<string, number>> = {
  'model operations': 100_000,
  'attempts, compared in two worlds': 100_000,
  requests: 100_000,
};

interface Run {
  readonly seed: number;
  readonly size: ProofContext['size'];
  readonly seconds: number;
}

export function reportOf(parts: readonly PartReport[], { seed, size, seconds }: Run): Report {
  const whole = size === 'full' && parts.length > 1;
  const faults = whole ? missingOf(parts) : [];
  const machine = `${availableParallelism()} × ${cpus()[0]?.model ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`;
  return {
    holds: faults.length === 0 && parts.every((part) => part.faults.length === 0),
    date: new Date().toISOString(),
    seed,
    size,
    machine,
    seconds,
    parts: parts.map((part) => ({ ...part, again: replayOf(part.name, { seed, size }) })),
    faults,
  };
}

function missingOf(parts: readonly PartReport[]): string[] {
  return Object.entries(required).flatMap(([figure, least]) => {
    const done = parts.reduce((sum, { figures }) => sum + Number(figures[figure] ?? 0), 0);
    return done < least ? [`${figure}: ${shown(done)}, which is less than ${shown(least)}`] : [];
  });
}

export function printPart({ name, title, seconds, figures, faults }: PartReport): void {
  console.log(`\n${faults.length === 0 ? 'holds' : 'FAILS'}  ${name}: ${title} (${seconds.toFixed(1)} s)`);
  const width = Math.max(...Object.keys(figures).map(({ length }) => length));
  for (const [figure, value] of Object.entries(figures)) console.log(`  ${figure.padEnd(width)}  ${shown(value)}`);
  for (const fault of faults) console.log(`  ! ${fault}`);
}

export function closingPage({ holds, seed, size, machine, date, seconds, parts, faults }: Report): string {
  const count = parts.reduce((sum, part) => sum + part.faults.length, faults.length);
  return [
    '',
    `${size} size, seed ${seed}, ${date}, ${machine}`,
    '',
    ...parts.map(({ name, title, seconds: took, faults: found, figures, again }) => {
      const [[figure, value] = ['nothing', '']] = Object.entries(figures);
      const verdict = found.length === 0 ? 'holds' : 'FAILS';
      return `${verdict}  ${name.padEnd(12)} ${title}\n       ${`${shown(value)} ${figure}, ${took.toFixed(0)} s`.padEnd(48)} ${again}`;
    }),
    '',
    ...faults.map((fault) => `! ${fault}`),
    holds ? `It holds (${seconds.toFixed(0)} s).` : `${count} faults (${seconds.toFixed(0)} s).`,
  ].join('\n');
}

const shown = (value: number | string) =>
  typeof value === 'number' ? value.toLocaleString('en').replaceAll(',', ' ') : value;
