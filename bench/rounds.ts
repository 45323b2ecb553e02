/** The rounds: every variant in turn, again and again, so that what the machine does meanwhile falls on all alike. */
import {
  type MeasureOrder,
  median,
  type Operation,
  operations,
  type Sample,
  type Variant,
  variants,
} from './measurement.ts';

export interface Measurer {
  measure(order: MeasureOrder): Promise<Sample>;
}

export interface RoundOptions {
  readonly rounds: number;
  readonly connections: readonly number[];
  readonly windowMs: number;
}

/** Medians over the rounds. */
export interface Figures {
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly perSecond: number;
}

export interface Comparison {
  readonly operation: Operation;
  readonly connections: number;
  readonly figures: Readonly<Record<Variant, Figures>>;
  /** Each pair of neighbours in a round is compared; these are the medians of that. */
  readonly pairs: {
    /** p50 of `on` minus p50 of `off`, in milliseconds. */
    readonly addedP50: number;
    /** Throughput of `on` over that of `off`. */
    readonly onOff: number;
    /** Throughput of `on` over that of the limit. */
    readonly onLimit: number;
    /** Throughput of the core over that of the limit. */
    readonly coreLimit: number;
  };
}

type Round = Record<Variant, Sample>;

export async function compareAll(
  measurers: Readonly<Record<Variant, Measurer>>,
  { rounds, connections, windowMs }: RoundOptions,
  say: (line: string) => void,
): Promise<Comparison[]> {
  const cells = connections.flatMap((count) => operations.map((operation) => ({ operation, connections: count })));
  const taken = new Map(cells.map((cell) => [cell, [] as Round[]]));
  // Round 0 warms up: code gets compiled, pages get into memory.
  for (let round = 0; round <= rounds; round++) {
    say(round === 0 ? 'Warming up' : `Round ${round} of ${rounds}`);
    for (const cell of cells) {
      const measured = await oneRound(measurers, { ...cell, windowMs });
      if (round > 0) taken.get(cell)?.push(measured);
    }
  }
  return cells.map((cell) => ({ ...cell, ...summary(taken.get(cell) ?? []) }));
}

async function oneRound(measurers: Readonly<Record<Variant, Measurer>>, order: MeasureOrder): Promise<Round> {
  return {
    on: await measurers.on.measure(order),
    off: await measurers.off.measure(order),
    limit: await measurers.limit.measure(order),
    core: await measurers.core.measure(order),
  };
}

function summary(rounds: readonly Round[]): Pick<Comparison, 'figures' | 'pairs'> {
  const middle = (value: (round: Round) => number) => median(rounds.map(value));
  const figuresOf = (variant: Variant): Figures => ({
    p50: middle((round) => round[variant].p50),
    p99: middle((round) => round[variant].p99),
    perSecond: middle((round) => round[variant].perSecond),
  });
  const ratio = (one: Variant, other: Variant) => middle((round) => round[one].perSecond / round[other].perSecond);
  const [on, off, limit, core] = variants;
  return {
    figures: { on: figuresOf(on), off: figuresOf(off), limit: figuresOf(limit), core: figuresOf(core) },
    pairs: {
      addedP50: middle((round) => round.on.p50 - round.off.p50),
      onOff: ratio('on', 'off'),
      onLimit: ratio('on', 'limit'),
      coreLimit: ratio('core', 'limit'),
    },
  };
}
