/** `ringfence canary plant` and `scan`: marked rows of two users who are nobody, and where their marks must not be. */
import { readFile } from 'node:fs/promises';
import type { Config } from '../config.ts';
import { ownCanaries } from '../database/own-canaries.ts';
import { problem } from '../errors.ts';
import type { Environment } from '../rollout/backup/client-programs.ts';
import { findClientPrograms } from '../rollout/backup/client-programs.ts';
import { searchPath } from '../rollout/canary/files.ts';
import { databaseMark, searchDatabase } from '../rollout/canary/other-database.ts';
import { type PlantedCanaries, plantCanaries, removeCanaries } from '../rollout/canary/plant.ts';
import type { Sighting } from '../rollout/canary/search.ts';
import { type Canaries, readCanaries } from '../rollout/canary/state.ts';
import { type Connection, withConnection } from '../rollout/connection.ts';
import { type Finding, fail, pass, warn } from '../rollout/finding.ts';
import { readFrozenPlan } from '../rollout/state.ts';
import type { Expectation } from '../rollout/verify/expectation.ts';
import { searchServer } from './canary-http.ts';
import { withOwnedDatabase } from './database.ts';
import { readExpectation } from './expectation-in-force.ts';
import { type FindingsFlags, printFindings } from './findings.ts';
import { printJson, printRows, visible } from './print.ts';

export interface PlantFlags {
  readonly json?: boolean | undefined;
  readonly remove?: boolean | undefined;
}

export async function runCanaryPlant(config: Config, flags: PlantFlags): Promise<void> {
  await withOwnedDatabase(config, ({ ownerUrl }) =>
    withConnection(ownerUrl, 'canary', async (client) => {
      const expectation = await expectationOf(client);
      if (flags.remove === true) return sayRemoved(await removeCanaries(client, expectation), flags.json === true);
      const isOwn = (await readFrozenPlan(client)) === null;
      sayPlanted(await plantCanaries(client, expectation, isOwn ? ownCanaries : {}), flags.json === true);
    }),
  );
}

async function expectationOf(client: Connection): Promise<Expectation> {
  const expectation = await readExpectation(client);
  if (expectation !== null) return expectation;
  throw problem('rollout_refused', 'There is no isolation here to test: no plan is in force. Run `ringfence plan`.');
}

function sayRemoved(removed: Readonly<Record<string, number>> | null, json: boolean): void {
  const rows = Object.entries(removed ?? {}).map(([table, count]) => ({ table, rows: count }));
  if (removed === null && !json) console.log('There are no canaries here.');
  else printRows(rows, ['table', 'rows'], json);
}

/** Never a mark: who reads the output may be whom it is meant to find out. */
function sayPlanted({ canaries, tables, existed, unplanted }: PlantedCanaries, json: boolean): void {
  const users = canaries.users.map(({ id }) => id);
  if (json) {
    printJson({ existed, users, tables, marks: canaries.marks.length, unplanted });
    return;
  }
  const marks = `${canaries.marks.length} marks in ${tables.length} tables`;
  const since = `The canaries are there since ${canaries.plantedAt.toISOString()}: ${marks}.`;
  console.log(existed ? since : `Two users, ${marks}. \`ringfence canary scan\` looks for them.`);
  if (unplanted.length === 0) return;
  console.log();
  printRows(unplanted, ['table', 'reason'], false);
}

export interface ScanFlags extends FindingsFlags {
  readonly url?: string | undefined;
  readonly tokenFile?: readonly string[] | undefined;
  readonly path?: readonly string[] | undefined;
  readonly database?: string | undefined;
}

/** @returns exit code 1 when a mark is where it must not be */
export async function runCanaryScan(
  config: Config,
  paths: readonly string[],
  flags: ScanFlags,
  environment: Environment,
): Promise<0 | 1> {
  if (paths.length === 0 && flags.url === undefined && flags.database === undefined) {
    throw problem('usage_error', 'Say where to look: files or directories, --url or --database.');
  }
  if (flags.url === undefined && (flags.tokenFile ?? flags.path))
    throw problem('usage_error', '--url: is required with these');
  if (flags.url !== undefined && !/^https?:$/.test(URL.parse(flags.url)?.protocol ?? '')) {
    throw problem('usage_error', '--url: must be an address such as https://your-app.com');
  }
  const tokens = await Promise.all((flags.tokenFile ?? []).map(tokenIn));
  const { canaries, restore, mark } = await withOwnedDatabase(config, ({ ownerUrl }) =>
    withConnection(ownerUrl, 'canary', (client) => canariesOf(client, environment)),
  );
  const scan = new Scan();
  for (const path of paths) {
    await searchPath(path, canaries, {
      restore,
      onPlace: ({ path: file, how, bytes, sightings }) => scan.place('canary-in-file', file, how, bytes, sightings),
      onUnread: scan.unread,
      onBytes: progress,
    });
  }
  if (flags.url !== undefined) {
    await searchServer(
      { url: flags.url, tokens, paths: flags.path ?? [] },
      canaries,
      ({ path, status, bytes, sightings }) =>
        scan.place('canary-in-answer', path, `status ${status}`, bytes, sightings),
    );
  }
  if (flags.database !== undefined) await scanDatabase(flags.database, canaries, mark, scan);
  const { places, bytes } = scan;
  return printFindings(scan.findings(), flags, { scanned: { places, bytes }, plantedAt: canaries.plantedAt });
}

interface Known {
  readonly canaries: Canaries;
  readonly restore: string | null;
  readonly mark: string;
}

async function canariesOf(client: Connection, environment: Environment): Promise<Known> {
  const canaries = await readCanaries(client);
  if (canaries === null)
    throw problem('rollout_refused', 'There are no canaries to look for. Run `ringfence canary plant`.');
  const { rows } = await client.query<{ version: number }>(
    "select current_setting('server_version_num')::int as version",
  );
  const programs = await findClientPrograms(rows[0]?.version ?? 0, environment);
  return { canaries, restore: programs?.restore ?? null, mark: await databaseMark(client) };
}

async function scanDatabase(url: string, canaries: Canaries, mark: string, scan: Scan): Promise<void> {
  await withConnection(url, 'canary', async (client) => {
    if ((await databaseMark(client)) === mark) {
      throw problem('usage_error', '--database: is the database that the canaries are planted in');
    }
    await searchDatabase(
      client,
      canaries,
      ({ table, rows, sightings }) => scan.place('canary-in-database', table, `${rows} rows`, 0, sightings),
      scan.unread,
    );
  });
}

async function tokenIn(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw problem('usage_error', `--token-file: cannot be read: ${reason}`, {}, { cause });
  }
}

const shownOfOnePlace = 5;

class Scan {
  places = 0;
  bytes = 0;
  readonly #findings: Finding[] = [];

  place(check: string, name: string, how: string, bytes: number, sightings: readonly Sighting[]): void {
    this.places += 1;
    this.bytes += bytes;
    for (const { offset, form, who, origin } of sightings.slice(0, shownOfOnePlace)) {
      const what = origin === null ? `a mark of canary user ${who}` : `the mark of canary user ${who} in ${origin}`;
      const remedy = 'Find out how another user’s row came there; until then take it for a leak of everybody’s.';
      this.#findings.push(fail(check, name, `holds ${what} (${form}, byte ${offset}, ${how})`, remedy));
    }
    const rest = sightings.length - shownOfOnePlace;
    if (rest > 0) this.#findings.push(fail(check, name, `and ${rest} more (${how})`, 'See above.'));
  }

  readonly unread = ({ path, reason }: { readonly path: string; readonly reason: string }): void => {
    this.#findings.push(warn('not-read', path, reason, 'Look at it by other means, or as somebody who may read it.'));
  };

  findings(): readonly Finding[] {
    if (this.#findings.some(({ severity }) => severity === 'fail')) return this.#findings;
    return [...this.#findings, pass('canary', undefined, `no mark in ${this.places} places`)];
  }
}

let saidAt = 0;

/** A line now and then, for files that take long. */
function progress(path: string, bytes: number): void {
  if (bytes < saidAt) saidAt = 0;
  if (!process.stderr.isTTY || bytes - saidAt < 256 * 1024 * 1024) return;
  saidAt = bytes;
  process.stderr.write(`ringfence: ${visible(path)}: ${Math.round(bytes / 1e6)} MB …\n`);
}
