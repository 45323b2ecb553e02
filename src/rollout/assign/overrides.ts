/**
 * Before the seal the old application's triggers and the reconciliation work an owner out again by the rule. Where that
 * would come to somebody else than the row was given to, the gift is written down, together with what the rule says: it
 * counts until the rule says something else (see ownerExpression).
 */
import { literal } from '../identifier.ts';
import { keyText, quarantine, ruleExpression } from '../owner-expression.ts';
import type { Ownership } from '../ownership.ts';
import { type Estate, movedTable } from './moving.ts';
import type { Reach } from './reach.ts';

const backup = 'ringfence_rollout.user_id_backup';

/** After the rows have moved: a rule may go by the owner of another row, which has moved too. */
export async function recordOverrides(reach: Reach, ownership: Ownership, estate: Estate): Promise<void> {
  const moved = await reach.asOurselves<{ number: number }>(`select distinct table_no as number from ${movedTable}`);
  for (const { number } of moved) {
    const table = estate.tables[number];
    // Nobody works out the owner of a table that had one, and a row without a key cannot be told from others.
    if (!table || table.adopted || table.key.length === 0) continue;
    await reach.onRows(
      `with moved as (
        select ${keyText(table, 't')} as id, m.target,
          coalesce(${ruleExpression(ownership, table, 't')}, ${quarantine(ownership)}) as rule
        from ${movedTable} m join ${table.table} t on t.tableoid = m.leaf and t.ctid = m.place
        where m.table_no = ${number}
      ), agreed as (
        delete from ${backup} b using moved m
        where b.table_name = ${literal(table.table)} and b.id = m.id and m.rule = m.target
      )
      insert into ${backup} as b (table_name, id, user_id, rule_user_id)
      select ${literal(table.table)}, id, target, rule from moved where rule <> target
      on conflict (table_name, id) do update set
        user_id = excluded.user_id, rule_user_id = excluded.rule_user_id, saved_at = clock_timestamp()`,
    );
  }
}
