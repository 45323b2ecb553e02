/**
 * Reaching every row of the owned tables, whoever owns them. A superuser or a role with BYPASSRLS does anyway. The owner
 * of the tables does until the cut-over forces the policies on it as well: then it becomes `ringfence_system`, whose
 * policy lets it see and change all, for the statements that need it.
 */
import type { ClientBase, QueryResultRow } from 'pg';
import { problem } from '../../errors.ts';
import { type Catalog, tableOf } from '../catalog.ts';
import { sqlState } from '../connection.ts';
import { identifier } from '../identifier.ts';
import type { Ownership } from '../ownership.ts';
import { stateInstalled } from '../state.ts';

const systemRole = 'ringfence_system';

const lent = [
  'usage on schema ringfence_rollout',
  'select on ringfence_rollout.owner_map',
  'select, insert, update, delete on ringfence_rollout.user_id_backup',
  'execute on all functions in schema ringfence_rollout',
];

/** Both run inside the transaction that the caller has begun. */
export interface Reach {
  /** On owned tables and the users' table. */
  onRows<Row extends QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<Row[]>;
  /** On what is ours: temporary tables and the schema ringfence_rollout. */
  asOurselves<Row extends QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<Row[]>;
  /** For what is done on the connection itself. */
  becomeOurselves(): Promise<void>;
  /** The transaction began anew: the role is ours again. */
  forget(): void;
  /** Lets the role that works on rows use the rollout's schema, until the end of the transaction: nobody else sees it. */
  lendState(): Promise<void>;
  takeStateBack(): Promise<void>;
  /** The role that works on rows, where it is another than our own. */
  readonly role: string | null;
}

export function reachOf(client: ClientBase, ownership: Ownership, catalog: Catalog): Reach {
  const role = isBound(ownership, catalog) ? systemRole : null;
  let current: string | null = null;
  const become = async (wanted: string | null) => {
    if (current === wanted) return;
    await setRole(client, wanted, catalog);
    current = wanted;
  };
  const run = async <Row extends QueryResultRow>(text: string, values: readonly unknown[]) => {
    // One statement, whatever a predicate has in it: the simple protocol would take several.
    const statement = { text, values: [...values], queryMode: 'extended' };
    return (await client.query<Row>(statement)).rows;
  };
  const exchange = async (verb: 'grant' | 'revoke', preposition: 'to' | 'from') => {
    if (role === null || !(await stateInstalled(client))) return;
    await become(null);
    for (const what of lent) await client.query(`${verb} ${what} ${preposition} ${identifier(role)}`);
  };
  return {
    role,
    onRows: async (sql, values = []) => {
      await become(role);
      return run(sql, values);
    },
    asOurselves: async (sql, values = []) => {
      await become(null);
      return run(sql, values);
    },
    becomeOurselves: () => become(null),
    forget() {
      current = null;
    },
    lendState: () => exchange('grant', 'to'),
    takeStateBack: () => exchange('revoke', 'from'),
  };
}

function isBound(ownership: Ownership, catalog: Catalog): boolean {
  const { role } = catalog;
  if (role.superuser || role.bypassRls) return false;
  const exempt = ownership.legacyRoles.includes(role.name) || ownership.legacyRoles.includes('public');
  const labels = [...ownership.owned.map(({ table }) => table), ...(ownership.users ? [ownership.users.table] : [])];
  return labels.some((label) => {
    const { rowSecurity, forced, owner, policies } = tableOf(catalog, label);
    if (!rowSecurity || (!forced && owner === role.name)) return false;
    return !(exempt && policies.some(({ name }) => name === 'legacy_application'));
  });
}

async function setRole(client: ClientBase, role: string | null, catalog: Catalog): Promise<void> {
  try {
    await client.query(`set local role ${role === null ? 'none' : identifier(role)}`);
  } catch (error) {
    const state = sqlState(error);
    if (role === null || (state !== '42501' && state !== '22023')) throw error;
    throw problem(
      'rollout_refused',
      `The policies bind ${catalog.role.name}, and it may not become ${role}, whom they let see all rows: ` +
        `grant ${identifier(role)} to ${identifier(catalog.role.name)}; or come as a superuser.`,
      {},
      { cause: error },
    );
  }
}
