/** What the checks look at, and the form of a check. */
import type { ClientBase } from 'pg';
import type { Catalog, Table, TableLabel } from '../catalog.ts';
import type { Finding } from '../finding.ts';
import { usersLikeTables } from './users-table.ts';

export interface Subject {
  readonly client: ClientBase;
  readonly catalog: Catalog;
  /** The tables that are to be isolated, with their partitions. */
  readonly tables: readonly Table[];
  /** The same without the partitions: keys, columns and owners are decided on these. */
  readonly roots: readonly Table[];
  /** Tables that look like the one with the users, the likeliest first; the configured one alone where there is one. */
  readonly users: readonly Table[];
  readonly options: PreflightOptions;
}

export interface PreflightOptions {
  /** The tables to be isolated; without it, all that the catalogue has. Partitions come with their parents. */
  readonly only?: readonly TableLabel[];
  /** The table of users; null when there is none. Without it, it is guessed. */
  readonly usersTable?: TableLabel | null;
  /** Roles that are known to be the old application's. */
  readonly legacyRoles?: readonly string[];
  /** A transaction older than this is long, in seconds. */
  readonly longTransactionSeconds?: number;
  /** A table with more bytes than this is sampled, not read whole. */
  readonly sampleAboveBytes?: number;
  /** How long the rows of one table may be read, in seconds. */
  readonly readSeconds?: number;
}

export type Check = (subject: Subject) => Finding[] | Promise<Finding[]>;

export function subjectOf(client: ClientBase, catalog: Catalog, options: PreflightOptions): Subject {
  const wanted = options.only && new Set(options.only);
  const all = [...catalog.tables.values()];
  const roots = all.filter((table) => table.partitionOf === null && (!wanted || wanted.has(table.label)));
  const partitions = new Set(roots.flatMap((table) => table.partitions));
  const tables = all.filter((table) => roots.includes(table) || partitions.has(table.label));
  const { usersTable } = options;
  const users = usersTable === undefined ? usersLikeTables(roots) : all.filter((table) => table.label === usersTable);
  return { client, catalog, tables, roots, users, options };
}

/** `a, b and 3 more`: enough to find it, short enough to read. */
export function listed(names: readonly string[], most = 5): string {
  const shown = names.slice(0, names.length > most ? most - 1 : most);
  const rest = names.length - shown.length;
  return rest > 0 ? `${shown.join(', ')} and ${rest} more` : shown.join(', ');
}
