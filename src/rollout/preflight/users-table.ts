/** Which table is the one with the users, going by its name and what it holds. */
import type { Table } from '../catalog.ts';
import { plain } from './owner-names.ts';

/** The likeliest first. */
const names = [
  'users',
  'user',
  'appusers',
  'appuser',
  'authusers',
  'authuser',
  'accounts',
  'account',
  'members',
  'member',
  'people',
  'persons',
  'person',
  'profiles',
  'profile',
  'customers',
  'customer',
];

/** An `accounts` may be about money: by these columns it is about people. */
const personal = /^(e?mail(address)?|username|login|loginname|password|passwordhash|passwd|displayname)$/;

/** Candidates, the likeliest first; only tables that one column identifies. */
export function usersLikeTables(tables: readonly Table[]): Table[] {
  return tables
    .filter((table) => table.kind !== 'foreign' && table.primaryKey?.columns.length === 1)
    .map((table) => ({ table, rank: rankOf(table) }))
    .filter(({ rank }) => rank >= 0)
    .toSorted((a, b) => a.rank - b.rank)
    .map(({ table }) => table);
}

function rankOf(table: Table): number {
  const rank = names.indexOf(plain(table.name));
  const plainlyUsers = rank >= 0 && rank < 2;
  return plainlyUsers || table.columns.some((column) => personal.test(plain(column.name))) ? rank : -1;
}

/** Columns that tell users apart: the key, and what is unique by itself. */
export function identifyingColumns(users: Table): string[] {
  const unique = users.indexes.filter((index) => index.unique && index.valid && index.columns.length === 1);
  const loweredEmail = users.columns.filter((column) => /^e?mail(address)?$/.test(plain(column.name)));
  return [
    ...new Set([
      ...(users.primaryKey?.columns ?? []),
      ...unique.flatMap((index) => index.columns.filter((name) => name !== null)),
      ...loweredEmail.map((column) => column.name),
    ]),
  ];
}
