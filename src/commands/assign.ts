/** `ringfence assign` and `ringfence assign transfer`: rows, with all that hangs on them, get another owner. */
import type { Config } from '../config.ts';
import { ownSchema } from '../database/own-rollout.ts';
import { problem } from '../errors.ts';
import { type Assignment, type AssignOptions, assign, type Selection } from '../rollout/assign/assign.ts';
import { withConnection } from '../rollout/connection.ts';
import { withRolloutLock } from '../rollout/run/lock.ts';
import { withOwnedDatabase } from './database.ts';
import { printJson, table } from './print.ts';

interface CommonFlags {
  readonly json?: boolean;
  readonly from?: string;
  readonly userColumn?: string;
  readonly detach?: boolean;
  readonly withReferences?: boolean;
  readonly dryRun?: boolean;
}

export interface AssignFlags extends CommonFlags {
  readonly table?: string;
  readonly csv?: string;
  readonly where?: string;
  readonly byRule?: boolean;
  readonly to?: string;
  readonly skipMissing?: boolean;
  readonly batch?: number;
}

export interface TransferFlags extends CommonFlags {
  readonly table: string;
  readonly key: readonly string[];
  readonly to: string;
}

/** @returns exit code 1 when rows are missing or something is in the way */
export async function runAssign(config: Config, flags: AssignFlags): Promise<0 | 1> {
  return run(
    config,
    { ...common(flags), selection: selectionOf(flags), skipMissing: flags.skipMissing, batch: flags.batch },
    flags,
  );
}

/** @returns exit code 1 when something is in the way */
export async function runAssignTransfer(config: Config, flags: TransferFlags): Promise<0 | 1> {
  const { table: label, key, to } = flags;
  return run(config, { ...common(flags), selection: { by: 'key', table: label, key, to } }, flags);
}

const common = ({ from, userColumn, detach, withReferences, dryRun }: CommonFlags) => ({
  from,
  userColumn,
  detach,
  withReferences,
  dryRun,
});

function selectionOf({ table: label, csv, where, byRule, to, skipMissing }: AssignFlags): Selection {
  const ways = [csv !== undefined && '--csv', where !== undefined && '--where', byRule && '--by-rule'].filter(
    (way) => way,
  );
  if (ways.length !== 1) {
    throw problem(
      'usage_error',
      `say which rows by one of --csv, --where and --by-rule${ways.length > 1 ? `, not by ${ways.join(' and ')}` : ''}`,
    );
  }
  if (to !== undefined && where === undefined)
    throw problem('usage_error', `--to: goes with --where; ${ways[0]} says the users itself`);
  if (skipMissing && csv === undefined) throw problem('usage_error', '--skip-missing: goes with --csv');
  if (byRule) return { by: 'rule', table: label };
  if (label === undefined) throw problem('usage_error', '--table: is required with --csv and --where');
  if (csv !== undefined) return { by: 'csv', table: label, file: csv };
  if (to === undefined) throw problem('usage_error', '--to: is required with --where');
  return { by: 'where', table: label, predicate: where ?? '', to };
}

async function run(config: Config, options: AssignOptions, { json = false }: CommonFlags): Promise<0 | 1> {
  const onProgress = (done: number, total: number | null) =>
    process.stderr.write(`${number(done)}${total === null ? '' : ` of ${number(total)}`} named rows given\n`);
  const work = (client: Parameters<typeof assign>[0]) =>
    assign(client, { ...options, onProgress, withoutPlan: ownSchema });
  const assignment = await withOwnedDatabase(config, ({ ownerUrl }) =>
    options.dryRun ? withConnection(ownerUrl, 'assign', work) : withRolloutLock(ownerUrl, 'assign', work),
  );
  if (json) printJson(assignment);
  else console.log(describe(assignment, options));
  const left = assignment.missingTotal > 0 && !options.skipMissing;
  return left || assignment.conflictsTotal > 0 ? 1 : 0;
}

/** For people: what is in the way, whose rows go to whom, and the sum. */
function describe(assignment: Assignment, { skipMissing }: Pick<AssignOptions, 'skipMissing'>): string {
  const { missing, missingTotal, conflicts, conflictsTotal, moves } = assignment;
  const blocks: string[] = [];
  if (missingTotal > 0) {
    const [are, them] = missingTotal === 1 ? ['is', 'it'] : ['are', 'them'];
    const then = skipMissing ? 'passed over' : `nothing was changed (--skip-missing passes ${them} over)`;
    blocks.push(
      [`${rows(missingTotal)} of the list ${are} not there; ${then}:`, ...some(missing, missingTotal)].join('\n'),
    );
    if (!skipMissing) return blocks.join('\n');
  }
  if (conflictsTotal > 0) {
    const messages = conflicts.map(({ message }) => message);
    return [...blocks, `Refused; ${before(assignment)}:`, ...some(messages, conflictsTotal)].join('\n');
  }
  if (moves.length > 0) {
    const lines = moves.map((move) => ({ ...move, rows: number(move.rows) }));
    blocks.push(table(lines, ['table', 'from', 'to', 'rows']), '');
  }
  return [...blocks, outcome(assignment)].join('\n');
}

function before({ rows: gone, dryRun }: Assignment): string {
  if (gone > 0) return `${rows(gone)} had gone before in transactions of their own`;
  return dryRun ? 'this is in the way' : 'nothing was changed';
}

function outcome({ named, rows: count, detached, othersRows, listed, dryRun }: Assignment): string {
  const sentences = listed === 0 ? ['The list has a header and nothing else.'] : [];
  if (count === 0) sentences.push('No row changes its owner.');
  else sentences.push(`${rows(count)} ${dryRun ? 'would get' : 'got'} another owner, ${number(named)} of them named.`);
  if (detached > 0) sentences.push(`References given up: ${number(detached)}.`);
  if (othersRows > 0) sentences.push(`Left with other owners: ${rows(othersRows)} (--from says whose to take).`);
  return sentences.join(' ');
}

function some(lines: readonly string[], total: number): string[] {
  const more = total - lines.length;
  return [...lines.map((line) => `  ${line}`), ...(more > 0 ? [`  and ${number(more)} more`] : [])];
}

const number = (value: number) => value.toLocaleString('en');
const rows = (value: number) => `${number(value)} ${value === 1 ? 'row' : 'rows'}`;
