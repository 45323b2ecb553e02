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
  if (sql.includes(' tablesample ') && (await isSteadyWhole(attempt, lane))) return 'place-on-disk';
  return (await plansDiffer(attempt, lane)) ? 'choice-of-plan' : null;
}

/** A sample is of pages: which rows are in it hangs on what lies beside them. The whole must not. */
async function isSteadyWhole(attempt: Attempt, lane: Lane): Promise<boolean> {
  const statements = attempt.statements.map((statement) => ({
    ...statement,
    sql: statement.sql.replace(/ tablesample \w+ \(\d+\) repeatable \(\d+\)/g, ''),
  }));
  const seen = await lane.attempt({ ...attempt, statements, ending: 'rollback' });
  if (seen.canary !== undefined) return false;
  const whole = [seen.one.trace(), seen.other.trace()] as const;
  return (
    seen.equal || same(sorted(whole[0]), sorted(whole[1])) || (await plansDiffer({ ...attempt, statements }, lane))
  );
}

/** The plans without their estimates: where these are the same, the choice of plan explains nothing. */
async function plansDiffer(attempt: Attempt, lane: Lane): Promise<boolean> {
  for (const statement of attempt.statements) {
    for (const sql of plannable(statement.sql)) {
      const explain = { ...statement, sql: `explain (costs off) ${sql}` };
      const seen = await lane.attempt({ ...attempt, statements: [explain], ending: 'rollback' });
      if (!seen.equal && !same(seen.one.trace(), seen.other.trace())) return true;
    }
  }
  return false;
}

/** The queries in a statement, however it is wrapped. */
function plannable(sql: string): string[] {
  const inner = [
    /^declare .*? cursor .*?for (.*)$/s,
    /^prepare \w+ as (.*)$/s,
    /^explain \(.*?\) (.*)$/s,
    /^copy \((.*)\) to/s,
    /for r in (.*) loop/s,
    /'%', \((.*?)\)(?:;| using)/s,
  ].flatMap((wrapped) => wrapped.exec(sql)?.[1] ?? []);
  const executed = /execute '(.*?[^'])'(?!')/s.exec(sql)?.[1]?.replaceAll("''", "'");
  const stacked = /^(?:do|prepare|declare|explain|copy)\b/.test(sql) ? [] : [sql, ...sql.split('; ')];
  return [...inner, ...(executed === undefined ? [] : [executed]), ...stacked].filter((text) =>
    /^\(?(?:with|select|insert|update|delete|merge)\b/.test(text),
  );
}
