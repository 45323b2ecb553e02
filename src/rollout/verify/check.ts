/** A check is a question to the database with one name; verify is the list of them, and `--deep` may add more. */
import type { ClientBase } from 'pg';
import type { Catalog } from '../catalog.ts';
import type { Finding } from '../finding.ts';
import type { Phase } from '../plan.ts';
import type { Expectation, Guarded } from './expectation.ts';
import type { Facts } from './facts.ts';

export interface Context {
  readonly client: ClientBase;
  readonly catalog: Catalog;
  readonly facts: Facts;
  readonly expectation: Expectation;
  /** Owned and account tables that are there, with their partitions. */
  readonly guarded: readonly Guarded[];
}

export interface Check {
  /** The finding's name when all is well; faults may have finer ones. */
  readonly name: string;
  /** The phase that has to be complete for it to have a meaning. */
  readonly since: Phase;
  /** What is so when no fault is found. */
  readonly holds: (context: Context) => string;
  /** Faults only. */
  readonly run: (context: Context) => readonly Finding[] | Promise<readonly Finding[]>;
}

/** "14 tables", "1 table". */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
