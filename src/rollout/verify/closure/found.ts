/** An object of the catalogue, what the application's roles may do with it, and whose the rows are that it leads to. */
import { z } from 'zod';

export type Kind =
  | 'role'
  | 'database'
  | 'schema'
  | 'table'
  | 'foreign table'
  | 'view'
  | 'materialized view'
  | 'sequence'
  | 'function'
  | 'trigger'
  | 'large object'
  | 'default privileges'
  | 'foreign server'
  | 'foreign data wrapper'
  | 'user mapping'
  | 'publication'
  | 'subscription'
  | 'event trigger'
  | 'language'
  | 'setting'
  | 'relation of Postgres'
  | 'function of Postgres';

export interface Facts {
  /** Runs with the rights of who calls it. */
  readonly asCaller?: boolean | undefined;
  /** Relations that it reads, feeds or sends. */
  readonly over?: readonly string[] | undefined;
  readonly rules?: readonly string[] | undefined;
  readonly language?: string | undefined;
  readonly trusted?: boolean | undefined;
  readonly function?: string | undefined;
  readonly schema?: string | undefined;
  /** Default privileges: of which kind of object, as pg_default_acl has it. */
  readonly of?: string | undefined;
  readonly predefined?: boolean | undefined;
  readonly mighty?: boolean | undefined;
  readonly everything?: boolean | undefined;
}

export interface Found {
  readonly kind: Kind;
  readonly name: string;
  readonly owner: string | null;
  readonly extension: string | null;
  /** What any of the roles may do with it. */
  readonly privileges: readonly string[];
  /** The privilege can be used: the schema is open, the function can be called. */
  readonly open: boolean;
  readonly facts: Facts;
}

/**
 * - owned: leads to the asker's own rows alone, because a policy stands before them
 * - shared: leads to nobody's rows, or to what is declared to be everybody's
 * - denied: out of reach
 * - unclassified: nobody has said why it may be reached
 */
export type Class = 'owned' | 'shared' | 'denied' | 'unclassified';

export interface Classified extends Found {
  readonly class: Class;
  /** A phrase: why. */
  readonly reason: string;
  /** For what is unclassified. */
  readonly remedy?: string;
}

/** `view public.totals`: as findings, `--reviewed` and the page name it. */
export const titleOf = ({ kind, name }: Pick<Found, 'kind' | 'name'>): string => `${kind} ${name}`;

/** Why something may be reached although no rule says so: by title, a sentence of whoever looked at it. */
export type Reviewed = Readonly<Record<string, string>>;

export const reviewedSchema = z.record(z.string().min(3), z.string().min(10, 'say why, in a sentence'));
