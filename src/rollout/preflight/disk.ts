/** Whether there is room: an UPDATE of every row leaves the old ones, and their indexes, beside the new ones. */
import { stat, statfs } from 'node:fs/promises';
import { type Finding, fail, pass, warn } from '../finding.ts';
import { bytesText } from './amounts.ts';
import { dataDirectory, whetherVisible } from './disk-queries.ts';
import type { Subject } from './subject.ts';

/** 558 MB of table became 1144 MB when every row was updated. */
const factor = 2;

export async function diskFindings(subject: Subject): Promise<Finding[]> {
  const needed = factor * Math.max(0, ...subject.roots.map((table) => table.bytes));
  const directory = await visibleDirectory(subject);
  const need = `${bytesText(needed)} (${factor} times the largest table)`;
  if (directory === null) {
    const remedy = `Make sure that at least ${need} are free where the data and the WAL lie.`;
    return [warn('disk', undefined, "The server's free space cannot be seen from here.", remedy)];
  }
  const { bavail, bsize } = await statfs(directory.path);
  const free = bavail * bsize;
  const findings =
    free < needed
      ? [
          fail(
            'disk',
            undefined,
            `${bytesText(free)} are free in the data directory; ${need} are needed.`,
            'Make room, or roll out in parts: leave the largest tables out in the configuration at first.',
          ),
        ]
      : [pass('disk', undefined, `${bytesText(free)} are free in the data directory; ${need} are needed.`)];
  if (directory.tablespaces.length === 0) return findings;
  const message = `There are tablespaces (${directory.tablespaces.join(', ')}) whose free space was not looked at.`;
  return [...findings, warn('disk', undefined, message, `Make sure that ${need} are free there too.`)];
}

interface Directory {
  readonly path: string;
  readonly changedAt: number;
  readonly tablespaces: readonly string[];
}

/** @returns null unless it is certain that the directory we see is the server's */
async function visibleDirectory({ client }: Subject): Promise<Directory | null> {
  const about = await client.query<{ visible: boolean; local: boolean }>(whetherVisible);
  if (!about.rows[0]?.visible || !about.rows[0].local) return null;
  const { rows } = await client.query<Directory>(dataDirectory);
  const [directory] = rows;
  if (!directory) return null;
  try {
    const seen = await stat(directory.path);
    return Math.abs(seen.ctimeMs / 1000 - directory.changedAt) < 2 ? directory : null;
  } catch {
    // Another machine's path, or one that we may not enter.
    return null;
  }
}
