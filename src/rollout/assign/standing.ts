/** What an assignment stands on: whose the tables are, by the plan in force or, without one, by what is in the database. */
import type { ClientBase } from 'pg';
import { problem } from '../../errors.ts';
import { type Catalog, readCatalog, type Table, type TableLabel } from '../catalog.ts';
import type { OwnedTable, Ownership, UsersTable } from '../ownership.ts';
import type { Plan } from '../plan.ts';
import { readFrozenPlan, readLedger } from '../state.ts';

export interface Standing {
  readonly catalog: Catalog;
  readonly ownership: Ownership;
  readonly plan: Plan | null;
  /** The old application may still write, and its rows get their owner by the rule. */
  readonly ruleApplies: boolean;
}

/**
 * @param withoutPlan whose the tables are where no plan says so and these tables are there
 * @throws Problem `rollout_refused` when there are no owners yet
 */
export async function readStanding(client: ClientBase, withoutPlan: Ownership | undefined): Promise<Standing> {
  const catalog = await readCatalog(client);
  const plan = await readFrozenPlan(client);
  const ownership = plan?.ownership ?? (fits(withoutPlan, catalog) ? withoutPlan : isolatedAlready(catalog));
  const missing = ownership.owned.filter(({ table, ownerColumn }) => !hasColumn(catalog, table, ownerColumn));
  const [first] = missing;
  if (first) {
    throw problem(
      'rollout_refused',
      `${first.table} has no column ${first.ownerColumn} yet: run \`ringfence apply\` first`,
    );
  }
  if (ownership.owned.length === 0) {
    throw problem('rollout_refused', 'No table has owners yet: run `ringfence plan` and `ringfence apply` first');
  }
  return { catalog, ownership, plan, ruleApplies: plan !== null && !(await isSealed(client, plan)) };
}

async function isSealed(client: ClientBase, plan: Plan): Promise<boolean> {
  const ledger = await readLedger(client, plan.hash);
  return plan.steps.some(({ id, phase }) => phase === 'seal' && ledger.get(id)?.state === 'done');
}

function fits(ownership: Ownership | undefined, catalog: Catalog): ownership is Ownership {
  return ownership?.owned.every(({ table, ownerColumn }) => hasColumn(catalog, table, ownerColumn)) ?? false;
}

function hasColumn(catalog: Catalog, label: TableLabel, column: string): boolean {
  return catalog.tables.get(label)?.columns.some(({ name }) => name === column) ?? false;
}

const quarantineOwner = '00000000-0000-4000-8000-000000000000';

/** A database whose isolation did not come from a plan: policies and keys tell. */
function isolatedAlready(catalog: Catalog): Ownership {
  const policed = [...catalog.tables.values()].filter(
    (table) => table.partitionOf === null && table.policies.some(({ name }) => name === 'user_isolation'),
  );
  return {
    users: usersTable(catalog, policed),
    owned: policed.flatMap((table) => ownedAlready(table)),
    unowned: [],
    legacyRoles: [],
    quarantineOwner,
    appRole: 'ringfence_app',
  };
}

const ownerColumn = 'user_id';

function ownedAlready(table: Table): OwnedTable[] {
  if (!table.primaryKey?.columns.includes(ownerColumn)) return [];
  return [
    {
      table: table.label,
      class: 'owned',
      ownerColumn,
      adopted: true,
      sources: [],
      defaultOwner: quarantineOwner,
      key: table.primaryKey.columns,
      references: [],
      partitions: table.partitions,
      reason: 'isolated already',
    },
  ];
}

function usersTable(catalog: Catalog, policed: readonly Table[]): UsersTable | null {
  for (const fk of policed.flatMap(({ foreignKeys }) => foreignKeys)) {
    const [id = ''] = fk.referencedColumns;
    const type = catalog.tables.get(fk.references)?.columns.find(({ name }) => name === id)?.type;
    if (fk.columns.length === 1 && fk.columns[0] === ownerColumn && type === 'uuid') {
      return { table: fk.references, id, idKind: 'uuid' };
    }
  }
  return null;
}
