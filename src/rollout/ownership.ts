/** Whose the rows of each table are, and how that is known: the decision that a plan is made from. */
import type { TableLabel } from './catalog.ts';

/**
 * Where a row's owner comes from; the first source that names one wins.
 * - uuid: the column holds the user's id, as uuid or as text
 * - match: the column holds what a column of the users' table holds (e-mail, login, id): that user
 * - csv: the column's value is looked up in a list that was read in (ringfence_rollout.owner_map)
 * - derive: the column's value itself names the user; the id is made from it by name (RFC 9562, 5.8), so that every
 *   table, every run and the application come to the same one
 * - reference: the owner of the row that a foreign key points to
 */
export type OwnerSource =
  | { readonly kind: 'uuid'; readonly column: string; readonly isText: boolean }
  | LookUp
  | { readonly kind: 'csv'; readonly column: string; readonly map: string }
  | { readonly kind: 'derive'; readonly column: string; readonly namespace: string }
  | { readonly kind: 'reference'; readonly reference: OwnedReference };

/** The user whose column has the value. */
export interface LookUp {
  readonly kind: 'match';
  readonly column: string;
  readonly usersColumn: string;
  readonly ignoreCase: boolean;
  /** What the value is read as, where the columns are of different types. */
  readonly as?: 'uuid' | 'text';
}

/** A foreign key between owned tables, as it was before isolation: without the owner. */
export interface OwnedReference {
  readonly name: string;
  readonly columns: readonly string[];
  readonly table: TableLabel;
  readonly referencedColumns: readonly string[];
}

/**
 * - owned: rows belong to users; keys, references and policies carry the owner
 * - account: the users themselves; policies, but keys stay as they are, since a user's id is the owner
 * - shared: looked-up by all, written by none; the application may read it
 * - ignored: the application's role does not reach it
 */
export type TableClass = 'owned' | 'account' | 'shared' | 'ignored';

export interface OwnedTable {
  readonly table: TableLabel;
  readonly class: 'owned' | 'account';
  /** The uuid column with the owner. */
  readonly ownerColumn: string;
  /** The column was there and is right as it is: uuid, NOT NULL. It is neither filled nor dropped. */
  readonly adopted: boolean;
  readonly sources: readonly OwnerSource[];
  /** What rows get at once, without being rewritten: the quarantine user, or a majority owner where that was asked for. */
  readonly defaultOwner: string;
  /** The primary key before isolation; empty where there is none. */
  readonly key: readonly string[];
  /** Foreign keys to owned tables: they get the owner in front. */
  readonly references: readonly OwnedReference[];
  /** Partitions, at any depth: they get policies of their own, since they can be named directly. */
  readonly partitions: readonly TableLabel[];
  /** Why this class and these sources: a sentence for `plan`. */
  readonly reason: string;
}

export interface UnownedTable {
  readonly table: TableLabel;
  readonly class: 'shared' | 'ignored';
  readonly reason: string;
}

/** The table of users: ids to compare with, and whom `match` sources look up. */
export interface UsersTable {
  readonly table: TableLabel;
  /** The primary key column. */
  readonly id: string;
  /** How a user's uuid comes from the id: it is one, or it is derived from it. */
  readonly idKind: 'uuid' | 'derived';
}

export interface Ownership {
  readonly users: UsersTable | null;
  /** Parents before children. */
  readonly owned: readonly OwnedTable[];
  readonly unowned: readonly UnownedTable[];
  /** Roles of the old application: exempt from the policies until the seal. */
  readonly legacyRoles: readonly string[];
  /** Whose rows nobody has claimed. */
  readonly quarantineOwner: string;
  /** The role the isolated application works through. */
  readonly appRole: string;
}
