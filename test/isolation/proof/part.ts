/** A part of the proof: what `npm run proof` runs at full size and `npm test` at a short one. */
export interface ProofContext {
  readonly size: 'short' | 'full';
  /** Everything random comes from it. */
  readonly seed: number;
  /** Of what is drawn from the seed, the one case that a fault names; all of it without. */
  readonly path?: string | undefined;
  /** A superuser's connection string; the part makes databases of its own. */
  readonly postgresUrl: string;
  /** Databases to clone, by the names of test/support/templates.ts. */
  readonly templates: Readonly<Record<string, string>>;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface ProofResult {
  /** What was done and how often, in the order to be shown; first what is counted on the closing page. */
  readonly figures: Readonly<Record<string, number | string>>;
  /** Empty when the property held. Each is a sentence, with the command that replays it where there is one. */
  readonly faults: readonly string[];
}

export interface ProofPart {
  /** For `--only`: kebab-case. */
  readonly name: string;
  /** What it shows, in a line. */
  readonly title: string;
  /** Measures time, so nothing else may run beside it. */
  readonly alone?: true;
  run(context: ProofContext): Promise<ProofResult>;
}

/** The command that does it again. */
export function replayOf(part: string, { seed, size }: Pick<ProofContext, 'seed' | 'size'>, path?: string): string {
  const which = path === undefined ? '' : ` --path ${path}`;
  return `npm run proof -- --only ${part} --seed ${seed}${which}${size === 'short' ? ' --short' : ''}`;
}
