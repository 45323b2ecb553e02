/** Whether a list of a user's rows goes by the owner's index: asked of the planner, as the application's role. */
import { z } from 'zod';
import { type Finding, fail } from '../finding.ts';
import { identifier } from '../identifier.ts';
import type { Context } from './check.ts';
import type { Guarded } from './expectation.ts';
import type { Session } from './session.ts';

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string | undefined;
  readonly 'Index Name'?: string | undefined;
  readonly Plans?: readonly PlanNode[] | undefined;
}

const planNode: z.ZodType<PlanNode> = z.lazy(() =>
  z.object({
    'Node Type': z.string(),
    'Relation Name': z.string().optional(),
    'Index Name': z.string().optional(),
    Plans: z.array(planNode).optional(),
  }),
);
const explained = z.tuple([z.object({ Plan: planNode })]);

/**
 * Sequential scans are made dear, so that a small table does not hide an index that cannot be used (a wrong operator
 * class, another type, a partial one).
 */
export async function planFaults(
  context: Context,
  session: Session,
  guarded: Guarded,
  user: string,
): Promise<Finding[]> {
  const owner = identifier(guarded.owned.ownerColumn);
  await context.client.query('set local enable_seqscan = off');
  const sql = `explain (format json) select count(*) from ${guarded.label} where ${owner} = $1`;
  const outcome = await session.attempt(session.identityOf(user), sql, [user]);
  await context.client.query('set local enable_seqscan = on');
  // What the role may not read has no lists.
  if (outcome.code !== null) return [];
  const [{ Plan: plan }] = explained.parse(outcome.rows[0]?.['QUERY PLAN']);
  const leading = leadingIndexes(context, guarded);
  const nodes = flatten(plan);
  const unindexed = nodes.filter((node) => node['Node Type'] === 'Seq Scan').map((node) => node['Relation Name']);
  const other = nodes.flatMap((node) => node['Index Name'] ?? []).filter((name) => !leading.has(name));
  if (unindexed.length === 0 && other.length === 0) return [];
  const way = unindexed.length > 0 ? 'the whole table' : `the index ${other.map(identifier).join(', ')}`;
  const message = `a list of one user's rows reads ${way} instead of an index that begins with the owner`;
  return [fail('index-not-used', guarded.label, message, `create index concurrently on ${guarded.label} (${owner})`)];
}

/** Of the table and, for a partitioned one, of what is below it. */
function leadingIndexes({ guarded }: Context, { owned }: Guarded): ReadonlySet<string> {
  const tables = guarded.filter((g) => g.owned.table === owned.table);
  const indexes = tables.flatMap(({ table }) => table.indexes);
  return new Set(indexes.filter((index) => index.columns[0] === owned.ownerColumn).map((index) => index.name));
}

function flatten(node: PlanNode): PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(flatten)];
}
