/**
 * A plan as SQL for people to read and to run without us. Two kinds:
 * - online, for psql: what `apply` does while the old application goes on. Every step is a transaction of its own and is
 *   entered into the same ledger that `apply` keeps, so that a script that stopped can be run again, or gone on with by
 *   `apply`, and `status`, `verify` and `rollback` know of it.
 * - one transaction, all of it or nothing, for a plan made for that. No commands of psql's, so that a driver can run it.
 */
import { identifier, literal, qualified } from './identifier.ts';
import {
  type Action,
  backTo,
  isOneTransaction,
  type Phase,
  type Plan,
  phases,
  type Step,
  type Sweep,
  upTo,
} from './plan.ts';
import { allOrNothing } from './script-all-or-nothing.ts';
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
import { installSql } from './state-sql.ts';

export interface ScriptOptions {
  /** The plan has to be made for it: see `PlanOptions`. */
  readonly oneTransaction?: boolean;
  readonly direction?: 'up' | 'down';
  /** Upwards the last phase, without it `cutover`; back the phase to be left standing. Online only. */
  readonly until?: Phase;
  /** In one transaction: what is said first. Comment lines. */
  readonly heading?: readonly string[];
  /** In one transaction: ids of steps that are run even when the rest is found to be done. */
  readonly always?: readonly string[];
  /** In one transaction: false where something else than the plan says what is there (a ledger of migrations). */
  readonly leavesPlan?: boolean;
}

/** @throws Error when the plan is of the other kind */
export function renderScript(plan: Plan, options: ScriptOptions = {}): string {
  const { oneTransaction = false, direction = 'up' } = options;
  if (oneTransaction !== isOneTransaction(plan)) throw new Error('the plan was made for the other kind of script');
  if (oneTransaction) return allOrNothing(plan, { direction, heading: [], always: [], leavesPlan: true, ...options });
  return direction === 'up' ? onlineUp(plan, options.until ?? 'cutover') : onlineDown(plan, options.until ?? null);
}

function onlineUp(plan: Plan, until: Phase): string {
  const steps = upTo(plan, until);
  const lists = listsBlock(plan);
  const left = phases.slice(phases.indexOf(until) + 1);
  return [
    onlineHead(plan, `forwards, up to and with the phase ${until}`, left.includes('seal') ? goesOn : isOff),
    `do ${dollarQuoted(onlyPlan(plan))};`,
    ...(lists === null ? [] : [`do ${dollarQuoted(lists)};`]),
    ...bySection(steps, (step) => onlineStep(plan, step, 'up')),
    left.length > 0
      ? `-- The phases left: ${left.join(', ')}. The old application must be off from the seal on.`
      : '-- The rollout is complete.',
    '',
  ].join('\n\n');
}

function onlineDown(plan: Plan, to: Phase | null): string {
  const inverses = new Set(backTo(plan, to));
  const kept = to === null ? -1 : phases.indexOf(to);
  const steps = plan.steps.filter((step) => phases.indexOf(step.phase) > kept).toReversed();
  return [
    onlineHead(plan, to === null ? 'all the way back' : `back to the phase ${to}`),
    ...bySection(steps, (step) => onlineStep(plan, inverses.has(step) ? step : { ...step, down: null }, 'down')),
    '',
  ].join('\n\n');
}

const goesOn = 'The old application goes on meanwhile.';
const isOff = 'The old application must be off: nothing is sealed while it is connected.';

function onlineHead(plan: Plan, way: string, meanwhile = goesOn): string {
  return `-- ringfence: plan ${plan.hash.slice(0, 12)} for the database ${plan.database.replaceAll(/\s+/g, ' ')}, ${way}.
--
-- For psql, as the owner of the tables: psql -X -f this-file. ${meanwhile}
-- Each step is a transaction of its own and is written down in ringfence_rollout.steps. When one fails, for want of a
-- lock for instance, nothing of it is done: run the script again, it goes on from there. So does \`ringfence apply\`.

\\set ON_ERROR_STOP on
set application_name = 'ringfence script';
-- The triggers that give the old application's rows their owners pass over what is done here.
set ringfence.rollout = 'on';
-- An error, rather than a part of a table, where a policy is in the way.
set row_security = off;
set client_min_messages = warning;

begin;
${installSql.trim()}
commit;

-- The plan itself, for \`ringfence status\`, \`verify\` and \`rollback\`.
insert into ringfence_rollout.plans (hash, document)
values (${literal(plan.hash)}, ${dollarQuoted(JSON.stringify(plan))})
on conflict do nothing;`;
}

function onlyPlan({ hash }: Plan): string {
  return checkBlock({
    kind: 'check',
    query: `select format('another plan (%s) is in force and partly done', left(plan_hash, 12)) as fault
from ringfence_rollout.steps
where state <> 'undone' and plan_hash <> ${literal(hash)}
group by plan_hash`,
    remedy: 'Go on with that one, or take it back with ringfence rollback first.',
    sqlstate: 'RF014',
  });
}

function bySection(steps: readonly Step[], write: (step: Step) => string): string[] {
  return steps.flatMap((step, at) =>
    step.phase === steps[at - 1]?.phase ? [write(step)] : [sectionLine(step.phase), write(step)],
  );
}

/** psql runs a step only while the ledger does not have it. */
function onlineStep(plan: Plan, step: Step, direction: 'up' | 'down'): string {
  const action = step[direction];
  const is = `plan_hash = ${literal(plan.hash)} and step_id = ${literal(step.id)}`;
  const due =
    direction === 'up'
      ? `not exists (select from ringfence_rollout.steps where ${is} and state = 'done')`
      : `exists (select from ringfence_rollout.steps where ${is} and state <> 'undone')`;
  const entry = `insert into ringfence_rollout.steps (plan_hash, step_id, state, finished_at)
values (${literal(plan.hash)}, ${literal(step.id)}, '${direction === 'up' ? 'done' : 'undone'}', clock_timestamp())
on conflict (plan_hash, step_id) do update set state = excluded.state, finished_at = excluded.finished_at;`;
  return [
    `-- ${oneLine(step.id)}: ${oneLine(step.title)}${action === null ? '' : ` (lock: ${step.lock})`}`,
    `select ${due} as due \\gset`,
    '\\if :due',
    onlineAction(action, step, entry),
    '\\endif',
  ].join('\n');
}

function onlineAction(action: Action | null, step: Step, entry: string): string {
  switch (action?.kind) {
    case undefined:
      return entry;
    case 'sql':
      return [
        'begin;',
        "set local lock_timeout = '500ms';",
        ...(action.locks.length > 1 && step.lock !== 'none'
          ? [`lock table ${[...new Set(action.locks)].join(', ')} in ${step.lock.toLowerCase()} mode;`]
          : []),
        ...action.statements.map(statement),
        entry,
        'commit;',
      ].join('\n');
    case 'saveOwners':
      return ['begin;', ...action.statements.map(statement), entry, 'commit;'].join('\n');
    case 'index':
      return [dropInvalid(action), `${ifNotExists(action.statement)};`, entry].join('\n');
    case 'dropIndex':
      return [`drop index concurrently if exists ${qualified(action.schema, action.name)};`, entry].join('\n');
    case 'validate':
      return [`alter table ${action.table} validate constraint ${identifier(action.constraint)};`, entry].join('\n');
    case 'backfill':
      return [`do ${dollarQuoted(sweepBlock([action.sweep], { repeated: false }))};`, entry].join('\n');
    case 'reconcile':
      if (action.sweeps.length === 0) return entry;
      return [`do ${dollarQuoted(sweepBlock(action.sweeps, { repeated: true }))};`, entry].join('\n');
    case 'check':
      return [`do ${dollarQuoted(checkBlock(action))};`, entry].join('\n');
    case 'shadow':
      return ['-- `ringfence apply` compares it row by row; a script cannot, and goes on.', entry].join('\n');
  }
}

/** What a build that was broken off left, which would make the next one believe that the index is there. */
function dropInvalid({ schema, name }: Extract<Action, { kind: 'index' }>): string {
  return `select format('drop index concurrently %I.%I', n.nspname, c.relname)
from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indexrelid
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = ${literal(schema)} and c.relname = ${literal(name)} and not i.indisvalid
\\gexec`;
}

function ifNotExists(create: string): string {
  return create.replace(/^(create (?:unique )?index concurrently) /, '$1 if not exists ');
}

/** Blocks that one transaction goes through: some ten thousand rows of usual width. */
const blocksAtOnce = 256;

/** A range of blocks a transaction, so that no writer waits long for a row. */
function rangesOf(sweep: Sweep, leaf: string): string {
  const at = (block: string) => `('(' || ${block} || ',0)')::tid`;
  const range = `(t.ctid >= ${at('ringfence_block')} and t.ctid < ${at(`ringfence_block + ${blocksAtOnce}`)})`;
  return `ringfence_block := 0;
while ringfence_block * current_setting('block_size')::bigint < pg_relation_size(${literal(leaf)}) loop
${indented(`${sweepStatement(sweep, leaf, range)};`)}
  get diagnostics ringfence_changed = row_count;
  ringfence_total := ringfence_total + ringfence_changed;
  commit;
  ringfence_block := ringfence_block + ${blocksAtOnce};
end loop;`;
}

/** Once, or all tables again and again, parents first, until no row changes. */
function sweepBlock(sweeps: readonly Sweep[], { repeated }: { repeated: boolean }): string {
  const all = indented(sweeps.flatMap((sweep) => sweep.leaves.map((leaf) => rangesOf(sweep, leaf))).join('\n'), 4);
  return `declare
  ringfence_block bigint;
  ringfence_changed bigint;
  ringfence_total bigint;
begin
  loop
    ringfence_total := 0;
${all}
    exit${repeated ? ' when ringfence_total = 0' : ''};
  end loop;
end`;
}
