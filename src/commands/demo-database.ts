/** The database of the demo: in a Postgres of its own, or a new one beside others. Whatever is made is removed. */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { startEmbeddedPostgres } from '../database/embedded.ts';
import { problem } from '../errors.ts';
import { messageOf, withConnection } from '../rollout/connection.ts';
import type { LegacyRole } from '../rollout/demo/legacy-schema.ts';
import { identifier } from '../rollout/identifier.ts';
import { bytesText } from '../rollout/preflight/amounts.ts';

export interface DemoDatabase {
  /** The owner's. */
  readonly url: string;
  /** The data directory of a Postgres of its own; null in somebody's server. */
  readonly dataDir: string | null;
  /** The old application's log-in, to be made. */
  readonly role: LegacyRole;
  /** Ends every session in it. May be called again. */
  remove(): Promise<void>;
}

/** Rows, their indexes, old versions of them while they get owners, owners kept by the rollback, and the WAL of it all. */
const bytesPerRow = 2_500;
const bytesAtLeast = 150_000_000;

/** @throws Problem `rollout_refused` without room for it, and what a start of the embedded Postgres throws */
export async function openOwnDatabase(rows: number, onLine: (line: string) => void): Promise<DemoDatabase> {
  requireRoom(rows);
  const dataDir = mkdtempSync(join(tmpdir(), 'ringfence-demo-'));
  // As root, Postgres runs as another user, who has to pass through.
  chmodSync(dataDir, 0o711);
  const places = new Set([dataDir]);
  const removePlaces = () => {
    for (const place of places) rmSync(place, { recursive: true, force: true, maxRetries: 5 });
  };
  process.once('exit', removePlaces);
  try {
    // No checkpoint in the middle, which would show in everybody's clock; and all of it is in memory.
    const settings = { max_wal_size: '4GB', shared_buffers: '256MB', random_page_cost: '1.1' };
    const postgres = await startEmbeddedPostgres({ dataDir, settings, onLine });
    if (!postgres.directory.startsWith(dataDir)) places.add(dirname(postgres.directory));
    return {
      url: postgres.url,
      dataDir,
      role: newRole(),
      async remove() {
        await postgres.stop();
        removePlaces();
        process.off('exit', removePlaces);
      },
    };
  } catch (error) {
    removePlaces();
    process.off('exit', removePlaces);
    throw error;
  }
}

function requireRoom(rows: number): void {
  const { bavail, bsize } = statfsSync(tmpdir());
  const [room, needed] = [bavail * bsize, bytesAtLeast + rows * bytesPerRow];
  if (room >= needed) return;
  throw problem(
    'rollout_refused',
    `${tmpdir()} has room for ${bytesText(room)}, and ${rows} rows need ${bytesText(needed)}: set TMPDIR, or say --rows`,
  );
}

function newRole(): LegacyRole {
  const name = `demo_application_${randomBytes(4).toString('hex')}`;
  return { name, password: randomBytes(24).toString('base64url') };
}

const rolloutRoles = ['ringfence_app', 'ringfence_system', 'ringfence_shadow'];

/** @param ownerUrl of somebody's server; its databases are not touched. @throws Problem `rollout_refused` */
export async function openDatabaseBeside(ownerUrl: string): Promise<DemoDatabase> {
  const name = `ringfence_demo_${randomBytes(4).toString('hex')}`;
  const role = newRole();
  const rolesBefore = await withConnection(ownerUrl, 'demo', async (client) => {
    const { rows } = await client.query<{ name: string }>(
      'select rolname::text as name from pg_roles where rolname = any ($1)',
      [rolloutRoles],
    );
    await client.query(`create database ${name} template template0`).catch((cause: unknown) => {
      throw problem('rollout_refused', `--here: no database can be made: ${messageOf(cause)}`, {}, { cause });
    });
    return rows.map((row) => row.name);
  });
  const url = new URL(ownerUrl);
  url.pathname = `/${name}`;
  const made = rolloutRoles.filter((one) => !rolesBefore.includes(one));
  return {
    url: url.href,
    dataDir: null,
    role,
    remove: () =>
      withConnection(ownerUrl, 'demo', async (client) => {
        await client.query(`drop database if exists ${name} with (force)`);
        await client.query(`drop role if exists ${identifier(role.name)}`);
        // Another rollout in this server may have come to need them: then they stay.
        for (const one of made) await client.query(`drop role if exists ${one}`).catch(() => {});
      }),
  };
}
