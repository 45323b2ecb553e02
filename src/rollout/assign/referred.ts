/** Rows in quarantine that the moving ones refer to, where they are to come along. */
import { crossing } from './conflicts.ts';
import { type Estate, movingTable, ownerOf } from './moving.ts';
import type { Reach } from './reach.ts';

/**
 * Adds them at any depth. Of what hangs on such a row, references are not followed further: who else's rows use the same
 * label would come to one user with all they belong to. What that parts is found as a conflict.
 *
 * @returns whether there were any; what hangs on them is still to be added
 */
export async function addReferred(reach: Reach, estate: Estate, lock: boolean): Promise<boolean> {
  let any = false;
  for (let added = true; added; any ||= added) {
    added = false;
    for (const bond of estate.bonds) {
      const rows = await reach.onRows(
        `insert into ${movingTable} (table_no, leaf, place, owner, target, round)
        select ${estate.tables.indexOf(bond.parent)}, p.tableoid, p.ctid, p.${ownerOf(bond.parent)}, m.target, 0
        ${crossing(estate, bond)} and n.target is null and p.${ownerOf(bond.parent)} = '${estate.quarantineOwner}'
        ${lock ? 'for update of p' : ''}
        on conflict do nothing
        returning 1`,
      );
      added ||= rows.length > 0;
    }
  }
  return any;
}
