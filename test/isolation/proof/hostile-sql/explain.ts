/**
 * Why two worlds answered differently, where it is one of the reasons that are declassified. What is not read off the
 * answers is found by cause: the attempt is made again without it, and has to be answered alike then.
 */
import { declassify } from '../declassified.ts';
import { withEqualEstimates } from './equal-estimates.ts';
import type { Attempt } from './families.ts';
import { isChancy, type Lane, type Observation } from './lane.ts';
import { forced, onePlan, unforced } from './one-plan.ts';
import { statementsIn } from './sql-text.ts';
import { messagesIn, same } from './trace.ts';

/** @returns the name of the reason, or null: then it is a leak */
export async function reasonOf(attempt: Attempt, seen: Observation, lane: Lane): Promise<string | null> {
  const listed = listedReason(attempt, seen);
  if (listed !== null) return listed;
  const { without, reason } = withoutPlaces(attempt);
  if (reason !== null && (await isAlike(without, lane))) return reason;
  return (await isOnlyThePlan(without, lane)) ? 'choice-of-plan' : null;
}

function listedReason(attempt: Attempt, seen: Observation): string | null {
  const [ones, others] = [messagesIn(seen.one.trace()), messagesIn(seen.other.trace())];
  const sent = [...attempt.statements.map(({ sql }) => sql), attempt.ending];
  if (ones.length !== sent.length || others.length !== sent.length) return null;
  let reason: string | null = null;
  for (const [i, one] of ones.entries()) {
    const other = others[i] ?? [];
    if (same(one, other)) continue;
    const found = declassify(sent[i] ?? '', one, other);
    if (found === null) return null;
    reason ??= found;
  }
  return reason;
}

/**
 * A sample is of pages: which rows are in it hangs on what lies beside them. The whole must not; nor may the rest of a
 * statement, where in its depth stand a row's place or the number of who wrote it.
 */
function withoutPlaces(attempt: Attempt): { without: Attempt; reason: string | null } {
  const replaced = (by: (sql: string) => string, of: Attempt): Attempt => ({
    ...of,
    statements: of.statements.map((statement) => ({ ...statement, sql: by(statement.sql) })),
    ending: 'rollback',
  });
  const text = attempt.statements.map(({ sql }) => sql).join('; ');
  const placeless = replaced(
    (sql) =>
      sql
        .replace(/ tablesample \w+ \(\d+\) repeatable \(\d+\)/g, '')
        .replace(/\bt\d+\.ctid\b/g, "'(0,1)'::pg_catalog.tid"),
    attempt,
  );
  const numberless = replaced((sql) => sql.replace(/\bt\d+\.(?:xmin|xmax)\b/g, "'3'::pg_catalog.xid"), placeless);
  const reason = /tablesample|\bctid\b/.test(text)
    ? 'place-on-disk'
    : /\b(?:xmin|xmax)\b/.test(text)
      ? 'transaction-numbers'
      : null;
  return { without: numberless, reason };
}

/** @returns undefined when it was cut short: that both worlds were explains nothing */
async function isAlike(attempt: Attempt, lane: Lane): Promise<boolean | undefined> {
  const seen = await lane.attempt(attempt);
  if (seen.canary !== undefined) return false;
  if (isChancy(seen) || lane.lost) return undefined;
  return seen.equal || same(seen.one.trace(), seen.other.trace()) || listedReason(attempt, seen) !== null;
}

/** Where plans differ, each that both worlds can be made to use has to give the same, and there has to be one. */
async function isOnlyThePlan(attempt: Attempt, lane: Lane): Promise<boolean> {
  if (!(await plansDiffer(attempt, lane))) return false;
  try {
    const held = await holdsByOnePlan(attempt, lane);
    return (held ?? (await withEqualEstimates(lane.worlds, () => holdsByOnePlan(attempt, lane)))) === true;
  } finally {
    await lane.attempt({ ...attempt, statements: [{ sql: unforced, protocol: 'simple' }], ending: 'commit' });
  }
}

/** @returns undefined when the plans differ still, whatever is set */
async function holdsByOnePlan(attempt: Attempt, lane: Lane): Promise<boolean | undefined> {
  let held: true | undefined;
  for (const plan of onePlan) {
    if (await plansDiffer(attempt, lane, plan)) continue;
    const alike = await isAlike(forced(attempt, plan), lane);
    if (alike === false) return false;
    held = alike ?? held;
  }
  return held;
}

/** The plans without their estimates: where these are the same, the choice of plan explains nothing. */
async function plansDiffer(attempt: Attempt, lane: Lane, plan?: string): Promise<boolean> {
  for (const statement of attempt.statements) {
    for (const sql of plannable(statement.sql)) {
      const explain = { ...statement, sql: `explain (costs off) ${sql}` };
      const alone: Attempt = { ...attempt, statements: [explain], ending: 'rollback' };
      const seen = await lane.attempt(plan === undefined ? alone : forced(alone, plan));
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
  const stacked = /^(?:do|prepare|declare|explain|copy)\b/.test(sql) ? [] : statementsIn(sql);
  return [...inner, ...(executed === undefined ? [] : [executed]), ...stacked].filter((text) =>
    /^\(?(?:with|select|insert|update|delete|merge)\b/.test(text),
  );
}
