/**
 * Makes the planner believe the same of both worlds for a while: as many rows in each table, and nothing known of what is in
 * them. Which of two sides of a join or a set operation comes first hangs on that, and no setting decides it.
 */
import { withOwner } from '../../../../src/database/owner.ts';
import { accountTables, ownedTables } from '../../../../src/isolation/owned-tables.ts';
import type { Worlds } from './worlds.ts';

const tables = [...ownedTables, ...accountTables].map(({ table }) => table as string);

/** Rows are estimated from how many there are to a page, and pages from the file (estimate_rel_size() in plancat.c). */
const forget = `
  delete from pg_statistic where starelid = any ($1::regclass[]);
  update pg_class c set relpages = size.pages, reltuples = 100
    from (select oid, pg_relation_size(oid) / current_setting('block_size')::int as pages from pg_class) size
    where size.oid = c.oid and c.oid = any ($1::regclass[])`;

export async function withEqualEstimates<T>({ both }: Worlds, work: () => Promise<T>): Promise<T> {
  const inBoth = (...statements: readonly string[]) =>
    Promise.all(
      both.map(({ url }) =>
        withOwner(url, async (owner) => {
          for (const statement of statements) {
            await owner.query(statement, statement.includes('$1') ? [tables] : []);
          }
        }),
      ),
    );
  await inBoth(...forget.split(';'));
  try {
    return await work();
  } finally {
    await inBoth(`analyze ${tables.join(', ')}`);
  }
}
