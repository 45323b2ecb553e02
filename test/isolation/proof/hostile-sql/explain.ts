/** Why two worlds answered differently, where it is one of the reasons that are declassified. */
import { declassify } from '../declassified.ts';
import type { Attempt } from './families.ts';
import type { Lane, Observation } from './lane.ts';
import { same, sorted } from './trace.ts';

/** @returns the name of the reason, or null: then it is a leak */
export async function reasonOf(attempt: Attempt, seen: Observation, lane: Lane): Promise<string | null> {
  const [one, other] = [seen.one.trace(), seen.other.trace()];
  const sql = attempt.statements.map((statement) => statement.sql).join('; ');
  const listed = declassify(sql, one, other);
  if (listed !== null) return listed;
  if (same(sorted(one), sorted(other))) return 'choice-of-plan';
  return (await plansDiffer(attempt, lane)) ? 'choice-of-plan' : null;
}

/** The plans without their estimates: where these are the same, the choice of plan explains nothing. */
async function plansDiffer(attempt: Attempt, lane: Lane): Promise<boolean> {
  for (const sql of attempt.statements.flatMap((statement) => plannable(statement.sql))) {
    const seen = await lane.attempt({
      ...attempt,
      statements: [{ sql: `explain (costs off) ${sql}`, protocol: 'simple' }],
      ending: 'rollback',
    });
    if (!seen.equal && !same(seen.one.trace(), seen.other.trace())) return true;
  }
  return false;
}

/** The queries in a statement, however it is wrapped. */
function plannable(sql: string): string[] {
  const literal = sql.replaceAll('$1', 'null');
  const inner = [
    /^declare .*? cursor .*?for (.*)$/s,
    /^prepare \w+ as (.*)$/s,
    /^explain \(.*?\) (.*)$/s,
    /^copy \((.*)\) to/s,
    /for r in (.*) loop/s,
    /'%', \((.*?)\)(?:;| using)/s,
  ].flatMap((wrapped) => wrapped.exec(literal)?.[1] ?? []);
  const executed = /execute '(.*?[^'])'(?!')/s.exec(literal)?.[1]?.replaceAll("''", "'");
  const stacked = /^(?:do|prepare|declare|explain|copy)\b/.test(literal) ? [] : literal.split('; ');
  return [...inner, ...(executed === undefined ? [] : [executed]), ...stacked].filter((text) =>
    /^\(?(?:with|select|insert|update|delete|merge)\b/.test(text),
  );
}
