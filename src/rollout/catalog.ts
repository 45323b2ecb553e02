/**
 * What the rollout knows of a database: its tables, keys and references as Postgres' catalogue has them, read once. Plain
 * data, so that a plan can be made, shown and tested without a connection.
 */
import type { ClientBase } from 'pg';
import { catalogQueries } from './catalog-queries.ts';
import { qualified } from './identifier.ts';

/** A table's name as people and the configuration write it, quoted where SQL needs it: `public.tasks`, `"My App"."Order"`. */
export type TableLabel = string;

export interface Column {
  readonly name: string;
  /** As format_type() has it: `uuid`, `character varying(40)`. */
  readonly type: string;
  /** The same below a domain, without a length. */
  readonly baseType: string;
  /** It is compared by operators that are not Postgres' own: a base type of an extension, below a domain as well. */
  readonly foreignType: boolean;
  /** Its collation takes some texts for equal that are not the same. */
  readonly foldsText: boolean;
  readonly notNull: boolean;
  /** The default as SQL, or null. For a generated column its expression. */
  readonly default: string | null;
  readonly generated: boolean;
  readonly identity: boolean;
}

/** A primary key or unique constraint. */
export interface Key {
  readonly name: string;
  readonly columns: readonly string[];
  /** pg_get_constraintdef(). */
  readonly definition: string;
  readonly deferrable: boolean;
  readonly comment: string | null;
}

export interface Index {
  readonly name: string;
  /** With its schema, as a table's. */
  readonly label: string;
  /** Indexes of partitioned tables that this is a part of, by their labels. */
  readonly partOf: readonly string[];
  readonly nullsNotDistinct: boolean;
  /** Names of the key columns, null where an expression stands. */
  readonly columns: readonly (string | null)[];
  readonly unique: boolean;
  readonly valid: boolean;
  readonly partial: boolean;
  /** The constraint that the index belongs to. */
  readonly constraint: string | null;
  /** REPLICA IDENTITY USING INDEX names it. */
  readonly replicaIdentity: boolean;
  /** CLUSTER ON names it. */
  readonly clustered: boolean;
  readonly comment: string | null;
  /** SET STATISTICS of its columns, by their number from 1. */
  readonly statistics: readonly { readonly column: number; readonly target: number }[];
  /** pg_get_indexdef(). */
  readonly definition: string;
}

export type ReferentialAction = 'no action' | 'restrict' | 'cascade' | 'set null' | 'set default';

export interface ForeignKey {
  readonly name: string;
  readonly columns: readonly string[];
  readonly references: TableLabel;
  readonly referencedColumns: readonly string[];
  readonly onUpdate: ReferentialAction;
  readonly onDelete: ReferentialAction;
  /** The columns of ON DELETE SET NULL (a, b), empty for all. */
  readonly setColumns: readonly string[];
  readonly match: 'simple' | 'full' | 'partial';
  readonly deferrable: boolean;
  readonly deferred: boolean;
  readonly validated: boolean;
  readonly definition: string;
  readonly comment: string | null;
}

export interface Trigger {
  readonly name: string;
  /** pg_get_triggerdef(). */
  readonly definition: string;
  /** Fires for an UPDATE that sets only our owner column: no column list, or one with it. */
  readonly onAnyUpdate: boolean;
  /** `always` fires under session_replication_role = replica as well. */
  readonly enabled: 'origin' | 'always' | 'replica' | 'disabled';
  /** As regprocedure has it. */
  readonly function: string;
  readonly language: string;
  readonly body: string;
  /** The function's own: `search_path=public`. */
  readonly settings: readonly string[];
}

export interface Policy {
  readonly name: string;
  /** CREATE POLICY as SQL, to restore it. */
  readonly definition: string;
}

export interface Grant {
  /** `public` for everybody; otherwise the role's name. */
  readonly grantee: string;
  readonly privilege: string;
  /** Null for the whole table. */
  readonly column: string | null;
}

export interface Table {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** `schema.name`, quoted where needed: for SQL and for people. */
  readonly label: TableLabel;
  readonly kind: 'table' | 'partitioned' | 'foreign';
  readonly owner: string;
  /** Who asks has the owner's rights. */
  readonly mayAlter: boolean;
  /** Made of a composite type. */
  readonly typed: boolean;
  /** Stored columns whose type is this table's row, or made of it. */
  readonly usedAsType: readonly string[];
  /** Publications of its changes or deletions that name their columns. */
  readonly published: readonly { readonly publication: string; readonly columns: readonly string[] }[];
  readonly columns: readonly Column[];
  readonly primaryKey: Key | null;
  readonly uniques: readonly Key[];
  readonly indexes: readonly Index[];
  readonly foreignKeys: readonly ForeignKey[];
  readonly exclusions: readonly string[];
  /** Names of all its constraints, of whatever kind. */
  readonly constraints: readonly string[];
  readonly triggers: readonly Trigger[];
  readonly rules: readonly string[];
  readonly policies: readonly Policy[];
  readonly rowSecurity: boolean;
  readonly forced: boolean;
  /** The partitioned table that this is a part of. */
  readonly partitionOf: TableLabel | null;
  /** Parents by classic inheritance. */
  readonly inherits: readonly TableLabel[];
  /** Leaf and inner partitions below it, at any depth. */
  readonly partitions: readonly TableLabel[];
  readonly grants: readonly Grant[];
  /** Estimates of the planner, -1 when never analysed; for a partitioned table the sum. */
  readonly rows: number;
  /** Heap, indexes and TOAST together; for a partitioned table the sum. */
  readonly bytes: number;
}

export interface Role {
  readonly name: string;
  readonly superuser: boolean;
  readonly bypassRls: boolean;
  readonly login: boolean;
}

export interface Catalog {
  readonly database: string;
  /** server_version_num */
  readonly serverVersion: number;
  /** Who asks. */
  readonly role: Role;
  readonly tables: ReadonlyMap<TableLabel, Table>;
  readonly roles: readonly Role[];
}

/** Schemas of the rollout itself; nothing in them is anybody's table. */
export const ownSchemas: readonly string[] = ['ringfence', 'ringfence_rollout'];

/** Reads all tables outside Postgres' own schemas, ours and those of extensions. One transaction, one snapshot. */
export async function readCatalog(client: ClientBase): Promise<Catalog> {
  await client.query('begin isolation level repeatable read read only');
  try {
    // Definitions name what is outside the search path with its schema, whoever asks.
    await client.query("set local search_path = ''");
    // A table's size is read under a lock: behind somebody who rewrites one, say so instead of waiting.
    await client.query("set local lock_timeout = '10s'");
    const about = await client.query<{ database: string; serverVersion: number; role: Role }>(catalogQueries.about);
    const roles = await client.query<Role>(catalogQueries.roles);
    const { rows } = await client.query<Omit<Table, 'label'>>(catalogQueries.tables, [ownSchemas]);
    const [row] = about.rows;
    if (!row) throw new Error('the catalogue query returned no row');
    const tables = rows.map((table) => ({ ...table, label: qualified(table.schema, table.name) }));
    return { ...row, roles: roles.rows, tables: new Map(tables.map((table) => [table.label, table])) };
  } finally {
    await client.query('rollback');
  }
}

/** The table of a label that is known to be there. */
export function tableOf(catalog: Catalog, label: TableLabel): Table {
  const table = catalog.tables.get(label);
  if (!table) throw new Error(`the catalogue has no table ${label}`);
  return table;
}
