/** Phase 2: the owner of every row, of those that the old application writes meanwhile too. */
import { tableOf } from '../catalog.ts';
import { identifier, literal } from '../identifier.ts';
import { keyText, overrideSweepOf, quarantine, ruleOrQuarantine, sweepOf } from '../owner-expression.ts';
import type { OwnedReference, OwnedTable } from '../ownership.ts';
import type { Step, Sweep } from '../plan.ts';
import { leavesOf, type PlanContext, stepsOf } from './step.ts';
import { triggers } from './triggers.ts';

export function owners(context: PlanContext): Step[] {
  const filled = context.ownership.owned.filter((table) => !table.adopted);
  const whole = stepsOf('owners', null);
  return [
    ...triggers(context, 'owners'),
    // Backwards, before the triggers go: a row that is written behind them would look as if somebody had given it away.
    ...filled.map((table) => backup(context, table)),
    ...(context.oneTransaction ? [] : filled.map((table) => backfill(context, table))),
    whole(
      'reconcile',
      context.oneTransaction ? 'give every row its owner' : 'go over rows that were written meanwhile',
      { kind: 'reconcile', sweeps: sweeps(context) },
      null,
    ),
    ...conflicts(context),
  ];
}

export function sweeps({ catalog, ownership }: PlanContext): Sweep[] {
  return ownership.owned
    .filter((table) => !table.adopted)
    .flatMap((table) => {
      const leaves = leavesOf(catalog, tableOf(catalog, table.table));
      const override = overrideSweepOf(ownership, table, leaves);
      return [
        ...(table.sources.length > 0 ? [sweepOf(ownership, table, leaves)] : []),
        ...(override ? [override] : []),
      ];
    });
}

function backfill({ catalog, ownership }: PlanContext, table: OwnedTable): Step {
  const leaves = leavesOf(catalog, tableOf(catalog, table.table));
  const up =
    table.sources.length > 0 ? ({ kind: 'backfill', sweep: sweepOf(ownership, table, leaves) } as const) : null;
  return stepsOf('owners', table.table)('rows', `give every row its owner: ${table.reason}`, up, null, {
    lock: 'ROW EXCLUSIVE',
    rewrites: up !== null,
  });
}

function backup(context: PlanContext, table: OwnedTable): Step {
  const action = { kind: 'saveOwners', statements: saveOwners(context, table) } as const;
  return stepsOf('owners', table.table)('backup', 'a rollback keeps the owners in user_id_backup', null, action);
}

/** With what the rule says, so that owners given by hand can be told from the rule's when they come back. */
function saveOwners({ catalog, ownership }: PlanContext, table: OwnedTable): string[] {
  if (table.key.length === 0) return [];
  const name = literal(table.table);
  const rule = ruleOrQuarantine(ownership, table, 't');
  const owner = `t.${identifier(table.ownerColumn)}`;
  const said = table.sources.length > 0 ? `\n  or ${rule} <> ${quarantine(ownership)}` : '';
  return [
    `delete from ringfence_rollout.user_id_backup where table_name = ${name};`,
    ...leavesOf(catalog, tableOf(catalog, table.table)).map(
      (leaf) => `insert into ringfence_rollout.user_id_backup (table_name, id, user_id, rule_user_id)
select ${name}, ${keyText(table, 't')}, ${owner}, ${rule}
from ${leaf} t
where ${owner} <> ${quarantine(ownership)}${said}
on conflict (table_name, id) do update set user_id = excluded.user_id, rule_user_id = excluded.rule_user_id, saved_at = now();`,
    ),
  ];
}

/** Rows tied together across users cannot be kept apart: each is named, and somebody has to decide. */
function conflicts({ ownership, oneTransaction }: PlanContext): Step[] {
  return ownership.owned
    .filter((table) => table.references.length > 0)
    .map((table) => {
      const queries = table.references.map((reference) => conflictQuery(ownership.owned, table, reference));
      return stepsOf('owners', table.table)(
        'conflicts',
        'make sure that no row refers to another user’s',
        {
          kind: 'check',
          sqlstate: 'RF011',
          query: queries.join('\nunion all\n'),
          remedy: oneTransaction
            ? 'Remove these references or give both ends one owner, then run this again.'
            : 'Remove these references, or give both ends one owner (`ringfence assign`), then run `ringfence apply` again.',
        },
        null,
        { lock: 'ACCESS SHARE' },
      );
    });
}

function conflictQuery(owned: readonly OwnedTable[], table: OwnedTable, reference: OwnedReference): string {
  const parent = owned.find((other) => other.table === reference.table);
  if (!parent) throw new Error(`${reference.table} is not an owned table`);
  const pairs = reference.columns.map(
    (column, at) => `p.${identifier(reference.referencedColumns[at] ?? '')} = t.${identifier(column)}`,
  );
  const key = (alias: string, columns: readonly string[]) =>
    columns.map((column) => `${alias}.${identifier(column)}`).join(', ');
  const row = table.key.length > 0 ? `concat_ws(', ', ${key('t', table.key)})` : 't.ctid::text';
  return `select format('row %s of %s belongs to %s and refers by %s to a row of %s that belongs to %s', ${row}, ${literal(table.table)}, t.${identifier(table.ownerColumn)}, ${literal(reference.columns.join(', '))}, ${literal(reference.table)}, p.${identifier(parent.ownerColumn)}) as fault
from ${table.table} t join ${reference.table} p on ${pairs.join(' and ')}
where t.${identifier(table.ownerColumn)} <> p.${identifier(parent.ownerColumn)}`;
}
