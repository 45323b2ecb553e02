/**
 * Everything a user has as one JSON document. It is written to a file first, at the database's speed: a client that
 * reads slowly must not keep a connection, a fault half-way is an answer with an error and not half a document, and it
 * needs the memory of some rows however much there is.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import type { ProductIsolation } from '../database/isolation.ts';
import { problem } from '../errors.ts';
import { accountTables, ownedTables } from '../isolation/owned-tables.ts';
import type { Caller } from '../isolation/scope.ts';
import { OwnedDataRepository } from '../repositories/owned-data.ts';

/** Each takes a connection while it is being written. */
const atOnce = 2;
let running = 0;

/**
 * @returns a file without a name, to be read from its start; it is gone when it is closed
 * @throws Problem `conflict` while the schema does not record owners, `unavailable` while others are being written
 */
export async function exportUser(isolation: ProductIsolation, caller: Caller, clock: Clock): Promise<FileHandle> {
  if (isolation.enforcement === 'ownerless') {
    throw problem('conflict', 'Who owns what is not recorded while isolation is off on a schema without owners.');
  }
  if (running >= atOnce) throw problem('unavailable', 'Other exports are being written; try again in a moment.');
  running += 1;
  try {
    const file = await unnamedFile();
    try {
      await writeExport(file, isolation, caller, clock);
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  } finally {
    running -= 1;
  }
}

async function unnamedFile(): Promise<FileHandle> {
  const path = join(tmpdir(), `ringfence-export-${randomUUID()}`);
  const file = await open(path, 'wx+', 0o600);
  await unlink(path);
  return file;
}

async function writeExport(file: FileHandle, isolation: ProductIsolation, caller: Caller, clock: Clock): Promise<void> {
  const tables = [...accountTables, ...ownedTables].map(({ table }): string => table);
  const counts = Object.fromEntries(tables.map((table) => [table, 0]));
  const head = { format: 'ringfence export', format_version: 1, exported_at: new Date(clock.now()).toISOString() };
  await file.write(`${JSON.stringify(head).slice(0, -1)},"tables":{`);
  let current: string | undefined;
  const written: string[] = [];
  // A table that is over is not begun again: two members of one name would hide the first.
  const begin = (table: string) => {
    if (written.includes(table)) throw new Error(`the rows of ${table} came in two parts`);
    const text = `${current === undefined ? '' : ']'}${written.length > 0 ? ',' : ''}${JSON.stringify(table)}:[`;
    written.push(table);
    current = table;
    return text;
  };
  await isolation.withUser(caller, async (scope) => {
    const data = new OwnedDataRepository(scope);
    await data.openExport();
    for (let rows = await data.nextRows(); rows.length > 0; rows = await data.nextRows()) {
      let text = '';
      for (const { table_name: table, row } of rows) {
        text += table === current ? ',' : begin(table);
        text += row;
        counts[table] = (counts[table] ?? 0) + 1;
      }
      await file.write(text);
    }
  });
  const empty = tables.filter((table) => !written.includes(table)).map(begin);
  await file.write(`${empty.join('')}]},"counts":${JSON.stringify(counts)}}\n`);
}
