/**
 * A plan as one transaction, for a database whose application stands still: a migration. Everything is inside one block
 * that looks first whether it is done, so that it can be run again and changes nothing then.
 */
import { identifier, literal } from './identifier.ts';
import type { Action, Phase, Plan, Step, Sweep } from './plan.ts';
import {
  checkBlock,
  dollarQuoted,
  indented,
  listsBlock,
  oneLine,
  sectionLine,
  statement,
  sweepStatement,
} from './script-text.ts';
import { installSql, overridesSql } from './state-sql.ts';

interface Options {
  readonly direction: 'up' | 'down';
  readonly heading: readonly string[];
  readonly always: readonly string[];
  readonly leavesPlan: boolean;
}

export function allOrNothing(plan: Plan, { direction, heading, always, leavesPlan }: Options): string {
  const inOrder = direction === 'up' ? plan.steps : plan.steps.toReversed();
  const steps = inOrder.filter((step) => step[direction] !== null);
  const guarded = steps.filter((step) => !always.includes(step.id));
  const lists = listsBlock(plan);
  const work = written(plan, guarded, direction);
  const body = [
    direction === 'up' ? skipWhenDone(plan) : skipWhenUndone(plan),
    ...(direction === 'up' ? [refuseHalfDone] : []),
    direction === 'up' && leavesPlan ? installSql.trim() : stateNeeded(plan, direction, work),
    ...(direction === 'up' && lists !== null ? [`do ${dollarQuoted(lists)};`] : []),
    work,
    ...(direction === 'up' && leavesPlan ? [planLeft(plan)] : []),
    ...(direction === 'down' ? [forgetLedger] : []),
  ].filter((part) => part !== '');
  return [
    ...heading.map((line) => `-- ${line}`.trimEnd()),
    ...(heading.length > 0 ? [''] : []),
    'begin;',
    '',
    '-- Whoever runs this may have a schema of the same name in front of the search path: all names are in full.',
    'set local search_path = pg_catalog, pg_temp;',
    '-- A migration that waits for a lock stops everybody behind it: give up instead, nothing is changed then.',
    "set local lock_timeout = '5s';",
    "set local client_min_messages = 'warning';",
    '',
    `do ${dollarQuoted(['begin', '', body.join('\n\n'), '', 'end'].join('\n'), 'isolation')};`,
    '',
    ...steps.filter((step) => always.includes(step.id)).flatMap((step) => [actionText(plan, step[direction]), '']),
    'commit;',
    '',
  ].join('\n');
}

const sections: Readonly<Record<Phase, string>> = {
  prepare: 'Roles, identity, owner columns',
  owners: 'Owners',
  keys: 'Indexes',
  contract: 'Keys and references',
  shadow: 'Policies and grants',
  cutover: 'The policies bind whoever owns the tables as well',
  seal: 'Defaults',
};

/** A title is said once a section, for all tables that it is done to. */
function written(plan: Plan, steps: readonly Step[], direction: 'up' | 'down'): string {
  const said = new Set<string>();
  let text = '';
  for (const [at, step] of steps.entries()) {
    const begins = step.phase !== steps[at - 1]?.phase;
    if (begins) said.clear();
    const title = direction === 'up' && !said.has(step.title) ? `-- ${sentence(step.title)}\n` : '';
    said.add(step.title);
    const action = actionText(plan, step[direction]);
    const isLine = title === '' && !action.includes('\n') && !begins;
    const heading = begins ? `${sectionLine(sections[step.phase])}\n\n` : '';
    text += `${text === '' ? '' : isLine ? '\n' : '\n\n'}${heading}${title}${action}`;
  }
  return text;
}

const sentence = (title: string) => `${oneLine(title).replace(/^./, (first) => first.toUpperCase())}.`;

/** The last thing of all that is changed: a key that leads with the owner, where there is one. */
function isDone({ ownership }: Plan): string {
  const keyed = ownership.owned.findLast((table) => table.class === 'owned' && !table.adopted && table.key.length > 0);
  if (keyed) {
    return `exists (
  select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
  where i.indrelid = to_regclass(${literal(keyed.table)}) and i.indisprimary and a.attname = ${literal(keyed.ownerColumn)}
)`;
  }
  const [first] = ownership.owned;
  return `exists (
  select from pg_policy where polrelid = to_regclass(${literal(first?.table ?? '')}) and polname = 'user_isolation'
)`;
}

function skipWhenDone(plan: Plan): string {
  return `-- The second time nothing is left to do.
if ${isDone(plan)} then
  return;
end if;`;
}

function skipWhenUndone(plan: Plan): string {
  return `-- The second time nothing is left to take back.
if not ${isDone(plan)} then
  return;
end if;`;
}

const refuseHalfDone = `-- What is begun while the application runs has to be ended in the same way.
if to_regclass('ringfence_rollout.steps') is not null then
  if exists (select from ringfence_rollout.steps where state <> 'undone') then
    raise exception 'a rollout of this database is under way' using errcode = 'RF014',
      hint = 'End it with ringfence apply --until contract, or take it back with ringfence rollback.';
  end if;
end if;`;

/** With the work itself, so that there is no moment at which one is there without the other. */
function planLeft(plan: Plan): string {
  return `-- What was done, for \`ringfence status\`, \`verify\`, \`monitor\` and \`rollback\`.
insert into ringfence_rollout.plans (hash, document)
values (${literal(plan.hash)}, ${dollarQuoted(JSON.stringify(plan))})
on conflict (hash) do update set frozen_at = clock_timestamp();
insert into ringfence_rollout.steps (plan_hash, step_id, state, finished_at)
select p.hash, step ->> 'id', 'done', clock_timestamp()
from ringfence_rollout.plans p, jsonb_array_elements(p.document -> 'steps') step
where p.hash = ${literal(plan.hash)}
on conflict (plan_hash, step_id) do update set state = excluded.state, finished_at = excluded.finished_at;`;
}

const forgetLedger = `-- Where it was ringfence apply that came here, it knows that it was taken back.
if to_regclass('ringfence_rollout.steps') is not null then
  update ringfence_rollout.steps set state = 'undone', finished_at = clock_timestamp() where state <> 'undone';
end if;`;

/** Lists of owners and what reads them; for the way back only where owners are kept. */
function stateNeeded(plan: Plan, direction: 'up' | 'down', work: string): string {
  if (/ringfence_rollout\.(?!user_id_backup)/.test(work)) return installSql.trim();
  if (direction === 'up' && fromKeptOwnersAlone(plan)) return '';
  return work.includes('ringfence_rollout.user_id_backup') ? overridesSql.trim() : '';
}

/** No column says whose a row is: only owners that an earlier way back kept can give any. */
function fromKeptOwnersAlone({ ownership }: Plan): boolean {
  const adopted = new Set(ownership.owned.filter((table) => table.adopted).map((table) => table.table));
  return ownership.owned.every((table) =>
    table.sources.every((source) => source.kind === 'reference' && !adopted.has(source.reference.table)),
  );
}

function actionText(plan: Plan, action: Action | null): string {
  switch (action?.kind) {
    case undefined:
    case 'shadow':
      return '';
    case 'sql':
    case 'saveOwners':
      return action.statements.map(statement).join('\n');
    case 'index':
      return `${action.statement.replace(/^(create (?:unique )?index) concurrently /, '$1 ')};`;
    case 'dropIndex':
      return `drop index if exists ${identifier(action.schema)}.${identifier(action.name)};`;
    case 'validate':
      return `alter table ${action.table} validate constraint ${identifier(action.constraint)};`;
    case 'backfill':
      return whereKept(plan, sweepsText([action.sweep]));
    case 'reconcile':
      return action.sweeps.length === 0 ? '' : whereKept(plan, sweepsText(action.sweeps));
    case 'check':
      return `do ${dollarQuoted(checkBlock(action))};`;
  }
}

function whereKept(plan: Plan, text: string): string {
  if (!fromKeptOwnersAlone(plan)) return text;
  return `-- Owners that an earlier way back kept come back; rows made since take the owner of what they hang on.
if to_regclass('ringfence_rollout.user_id_backup') is not null then
${text}
end if;`;
}

/** Parents first, again until no row changes: a table that refers to itself hands owners down one generation a time. */
function sweepsText(sweeps: readonly Sweep[]): string {
  const updates = sweeps.flatMap((sweep) =>
    sweep.leaves.map(
      (leaf) => `${indented(`${sweepStatement(sweep, leaf, null)};`, 4)}
    get diagnostics ringfence_changed = row_count;
    ringfence_total := ringfence_total + ringfence_changed;`,
    ),
  );
  return `declare
  ringfence_changed bigint;
  ringfence_total bigint;
begin
  loop
    ringfence_total := 0;
${updates.join('\n')}
    exit when ringfence_total = 0;
  end loop;
end;`;
}
