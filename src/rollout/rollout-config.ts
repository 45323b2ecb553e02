/**
 * `ringfence.config.json` or `.ts`: what the rules cannot know. Unknown and trusted by nobody until it is parsed here, with
 * every fault named at once.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { problem } from '../errors.ts';
import type { ExtraWork } from './extras.ts';
import { defaultLimits, type ThrottleLimits } from './run/throttle.ts';

const label = z.string().min(1).max(300);
const column = z.string().min(1).max(63);

/** Where a row's owner comes from: a column, a foreign key by its column, or nobody. */
const ownerRule = z.union([
  z.literal('quarantine'),
  z.strictObject({ column, as: z.literal('uuid') }),
  z.strictObject({ column, as: z.literal('derive'), namespace: z.string().min(1).max(200).optional() }),
  z.strictObject({ column, matches: column, ignoreCase: z.boolean().default(false) }),
  z.strictObject({ column, csv: z.string().min(1).max(60) }),
  z.strictObject({ reference: z.string().min(1).max(63) }),
]);
export type OwnerRule = z.infer<typeof ownerRule>;

const table = z.strictObject({
  class: z.enum(['owned', 'account', 'shared', 'ignored']).optional(),
  reason: z.string().max(500).optional(),
  owner: z.union([ownerRule, z.array(ownerRule).min(1)]).optional(),
  /** Where most rows are one user's: they get this owner at once, and only the others are rewritten. Default: quarantine. */
  defaultOwner: z.uuid().optional(),
});

const aboveZero = { error: 'must be a number above 0, or null for no limit' };
const limit = (usual: number | null) => z.number(aboveZero).positive(aboveZero).nullable().default(usual);

/** When `apply` holds the backfill back. */
const throttle = z.strictObject({
  maxLagSeconds: limit(defaultLimits.maxLagSeconds),
  maxWalMBPerSecond: limit(defaultLimits.maxWalMBPerSecond),
  maxProbeMs: limit(defaultLimits.maxProbeMs),
  maxDeadRatio: limit(defaultLimits.maxDeadRatio),
}) satisfies z.ZodType<ThrottleLimits>;

const shape = z.strictObject({
  schemas: z.array(z.string().min(1).max(63)).min(1).optional(),
  users: z.union([z.null(), z.strictObject({ table: label })]).optional(),
  tables: z.record(label, table).default({}),
  shared: z.array(label).default([]),
  ignored: z.array(label).default([]),
  legacyRoles: z.array(z.string().min(1).max(63)).optional(),
  csv: z.record(z.string().min(1).max(60), z.string().min(1)).default({}),
  throttle: throttle.optional(),
});

export type RolloutConfig = z.infer<typeof shape> & {
  /** What a product needs besides that the rollout is a part of. No file can say it. */
  readonly extraWork?: ExtraWork;
};

const names = ['ringfence.config.ts', 'ringfence.config.json'];

/**
 * @param file the path given by `--config`; without one, `ringfence.config.ts` or `.json` in the working directory
 * @throws Problem `config_invalid`, one line a fault
 */
export async function loadRolloutConfig(file: string | undefined, directory: string): Promise<RolloutConfig> {
  const found = file ?? names.find((name) => existsSync(resolve(directory, name)));
  if (found === undefined) return shape.parse({});
  const path = resolve(directory, found);
  const parsed = shape.safeParse(await read(path, found));
  if (!parsed.success) {
    const lines = parsed.error.issues.map(
      (issue) => `${found}: ${issue.path.join('.') || 'the whole'}: ${issue.message}`,
    );
    throw problem('config_invalid', lines.join('\n'));
  }
  // Lists beside the configuration are named from where it lies.
  const csv = Object.entries(parsed.data.csv).map(([name, list]) => [name, resolve(dirname(path), list)]);
  return { ...parsed.data, csv: Object.fromEntries(csv) };
}

async function read(path: string, name: string): Promise<unknown> {
  try {
    if (!path.endsWith('.ts') && !path.endsWith('.js')) return JSON.parse(readFileSync(path, 'utf8'));
    const module: { default?: unknown } = await import(pathToFileURL(path).href);
    return module.default;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw problem('config_invalid', `${name}: cannot be read: ${reason}`, {}, { cause });
  }
}
