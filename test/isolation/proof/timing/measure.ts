/** Probes, each asked about a hidden row, an absent one and another absent one, in random order, one after the other. */
import type { World } from '../../../support/world.ts';
import type { Random } from '../fuzz/random.ts';
import { quantile, signedRankZ } from './statistics.ts';

/** Ids, and the name that goes with them. */
export type Subject = World & { readonly mark: string };

export interface Probe {
  readonly name: string;
  readonly level: 'database' | 'HTTP';
  /** @returns how long the answer took, in microseconds */
  run(about: Subject): Promise<number>;
}

export interface Subjects {
  readonly hidden: readonly Subject[];
  readonly absent: readonly Subject[];
}

/** What was measured in a stretch of time: three columns, a triple a row. */
interface Block {
  readonly hidden: number[];
  readonly absent: number[];
  /** Absent as well: how far two columns part that have nothing to part them. */
  readonly alsoAbsent: number[];
}

export interface Measured {
  readonly probe: Probe;
  readonly blocks: readonly Block[];
}

export interface Effort {
  readonly blocks: number;
  /** Of each probe, in each block. */
  readonly triples: number;
  /** How often each probe is asked before anything counts. */
  readonly warmUp: number;
}

export async function measure(
  probes: readonly Probe[],
  subjects: Subjects,
  random: Random,
  { blocks, triples, warmUp }: Effort,
  over: () => boolean,
): Promise<Measured[]> {
  for (const probe of probes) {
    for (let i = 0; i < warmUp; i += 1) await probe.run(random.pick(i % 2 ? subjects.hidden : subjects.absent));
  }
  const measured = probes.map((probe) => ({
    probe,
    blocks: Array.from({ length: blocks }, (): Block => ({ hidden: [], absent: [], alsoAbsent: [] })),
  }));
  for (let block = 0; block < blocks; block += 1) {
    // All probes in each round: what else the machine does meets them alike.
    for (let triple = 0; triple < triples && !over(); triple += 1) {
      for (const { probe, blocks: into } of measured) {
        const columns = into[block];
        if (columns) await ask(probe, columns, subjects, random);
      }
    }
  }
  return measured;
}

async function ask(probe: Probe, columns: Block, { hidden, absent }: Subjects, random: Random): Promise<void> {
  const turns = [
    { column: columns.hidden, about: random.pick(hidden) },
    { column: columns.absent, about: random.pick(absent) },
    { column: columns.alsoAbsent, about: random.pick(absent) },
  ];
  while (turns.length > 0) {
    const [turn] = turns.splice(random.below(turns.length), 1);
    if (turn) turn.column.push(await probe.run(turn.about));
  }
}

/** How far two columns lie apart. */
export interface Distance {
  /** Microseconds. */
  readonly p25: number;
  readonly p50: number;
  readonly z: number;
  /** In how many blocks the first column is the slower one, by both quantiles, and the faster one. */
  readonly slower: number;
  readonly faster: number;
}

export interface Compared {
  readonly effect: Distance;
  readonly floor: Distance;
}

export function compare({ blocks }: Pick<Measured, 'blocks'>): Compared {
  return {
    effect: distance(blocks.map(({ hidden, absent }) => [hidden, absent])),
    floor: distance(blocks.map(({ alsoAbsent, absent }) => [alsoAbsent, absent])),
  };
}

function distance(blocks: readonly (readonly [readonly number[], readonly number[]])[]): Distance {
  const apart = (one: readonly number[], other: readonly number[], share: number) =>
    quantile(one, share) - quantile(other, share);
  const signs = blocks.map(([one, other]) => {
    const [low, middle] = [Math.sign(apart(one, other, 0.25)), Math.sign(apart(one, other, 0.5))];
    return low === middle ? low : 0;
  });
  const [all, others] = [blocks.flatMap(([one]) => one), blocks.flatMap(([, other]) => other)];
  return {
    p25: apart(all, others, 0.25),
    p50: apart(all, others, 0.5),
    z: signedRankZ(all.map((one, i) => one - (others[i] ?? one))),
    slower: signs.filter((sign) => sign > 0).length,
    faster: signs.filter((sign) => sign < 0).length,
  };
}
