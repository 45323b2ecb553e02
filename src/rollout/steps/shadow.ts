/**
 * Phase 4: the policies are there but bind a probe role alone. What it sees is compared with what the owner column says
 * before anybody depends on it. The old application's roles are let through from the first moment.
 */
import { tableOf } from '../catalog.ts';
import { grant, mostGrants, type TableGrants } from '../extras.ts';
import { identifier } from '../identifier.ts';
import type { OwnedTable } from '../ownership.ts';
import type { Step } from '../plan.ts';
import { schemasOf } from './prepare.ts';
import { type PlanContext, sql, stepsOf, withPartitions } from './step.ts';

const probe = 'ringfence_shadow';

export function shadow(context: PlanContext): Step[] {
  const whole = stepsOf('shadow', null);
  const { ownership } = context;
  return [
    whole('role', 'make the probe role', makeProbe(context), dropProbe(context), { onlineOnly: true }),
    ...ownership.owned.flatMap((table) => protect(context, table)),
    ...ownership.unowned.filter((table) => table.class === 'shared').map((table) => share(context, table.table)),
    ...closeDoors(context),
    whole(
      'compare',
      'compare what the probe role sees with whose the rows are',
      { kind: 'shadow', tables: ownership.owned.map(({ table, ownerColumn }) => ({ table, ownerColumn })) },
      null,
      { lock: 'ACCESS SHARE', onlineOnly: true },
    ),
  ];
}

/** Roles belong to the whole cluster: another database may be in its shadow phase just now. */
export function makeProbe(context: PlanContext) {
  return sql(
    [],
    `do $$ begin
  if not exists (select from pg_catalog.pg_roles where rolname = '${probe}') then
    create role ${probe} nologin noinherit nobypassrls;
  end if;
exception when duplicate_object or unique_violation then null;
end $$;`,
    `grant usage on schema ${['ringfence', ...schemasOf(context)].map(identifier).join(', ')} to ${probe};`,
    `grant execute on function ringfence.verified_user_id(boolean) to ${probe};`,
    ...context.ownership.owned.map((table) => `grant select on table ${table.table} to ${probe};`),
  );
}

export function dropProbe(context: PlanContext) {
  return sql(
    [],
    ...context.ownership.owned.map((table) => `revoke all on table ${table.table} from ${probe};`),
    `do $$ begin
  if pg_catalog.to_regprocedure('ringfence.verified_user_id(boolean)') is not null then
    revoke all on function ringfence.verified_user_id(boolean) from ${probe};
    revoke all on schema ringfence from ${probe};
  end if;
end $$;`,
    ...schemasOf(context).map((schema) => `revoke all on schema ${identifier(schema)} from ${probe};`),
    `do $$ begin
  drop role ${probe};
exception when dependent_objects_still_exist or undefined_object or insufficient_privilege or object_in_use then null;
end $$;`,
  );
}

/**
 * The one condition of users, with no role in it. The sub-select makes the check run once a statement.
 *
 * The pair costs nothing to compare on its left side, so Postgres looks there first, before the conditions of the statement
 * itself. With the owner alone it evaluates leakproof ones (`title > 'x'`) before it, and whether it then came to look at
 * the identity, as EXPLAIN ANALYZE tells, said whether anybody's row met them (15 and 18; test/isolation/identity-oracle.test.ts).
 */
export function condition(ownerColumn: string): string {
  return `(true, ${identifier(ownerColumn)}) = (select u is not null, u from ringfence.verified_user_id(false) u)`;
}

export function legacyPolicy(context: PlanContext, label: string): string {
  const roles = context.ownership.legacyRoles.map(identifier);
  if (roles.length === 0) return '';
  return `create policy legacy_application on ${label} to ${roles.join(', ')} using (true) with check (true);`;
}

function protect(context: PlanContext, owned: OwnedTable): Step[] {
  const labels = withPartitions(owned);
  const names = context.oneTransaction
    ? ['user_isolation', 'system_mode']
    : ['user_isolation', 'system_mode', 'legacy_application'];
  const further = context.extras.policies.filter((policy) => policy.table === owned.table);
  const up = labels.flatMap((label) => [
    ...(context.oneTransaction ? [] : names.map((name) => `drop policy if exists ${name} on ${label};`)),
    ...policies(context, label, owned.ownerColumn),
    `alter table ${label} enable row level security;`,
  ]);
  const down = labels.flatMap((label) => [
    ...(tableOf(context.catalog, label).rowSecurity ? [] : [`alter table ${label} disable row level security;`]),
    ...names.map((name) => `drop policy if exists ${name} on ${label};`),
  ]);
  const step = stepsOf('shadow', owned.table);
  const title = context.oneTransaction ? 'make the policies' : 'make the policies, binding the probe role alone';
  return [
    step('policies', title, sql(labels, ...up), sql(labels, ...down), { lock: 'ACCESS EXCLUSIVE' }),
    ...further.map(({ name, definition }) =>
      step(
        `policy ${name}`,
        `make the policy ${name}`,
        sql([owned.table], `drop policy if exists ${identifier(name)} on ${owned.table};`, `${definition};`),
        sql([owned.table], `drop policy if exists ${identifier(name)} on ${owned.table};`),
        { lock: 'ACCESS EXCLUSIVE' },
      ),
    ),
    grants(context, owned),
  ];
}

function policies(context: PlanContext, label: string, ownerColumn: string): string[] {
  const own = condition(ownerColumn);
  const bound = context.oneTransaction ? 'public' : probe;
  return [
    `create policy user_isolation on ${label} to ${bound}
  using (${own}) with check (${own});`,
    `create policy system_mode on ${label} to ringfence_system using (true) with check (true);`,
    ...[context.oneTransaction ? '' : legacyPolicy(context, label)].filter((statement) => statement !== ''),
  ];
}

/** As the product says, else all but changing whose a row is, or which. */
function grants(context: PlanContext, owned: OwnedTable): Step {
  const { appRole } = context.ownership;
  const said: Readonly<Record<string, TableGrants>> = {
    [appRole]: context.extras.grants[owned.table] ?? mostGrants(owned, tableOf(context.catalog, owned.table)),
    ringfence_system: { select: 'all', insert: 'all', update: 'all', delete: true },
    ...context.extras.furtherGrants[owned.table],
  };
  const roles = Object.keys(said).map(identifier).join(', ');
  const sequences = context.database.sequences.get(owned.table) ?? [];
  return stepsOf('shadow', owned.table)(
    'grants',
    'let the isolated application work with it',
    sql(
      [],
      `revoke all on table ${owned.table} from ${context.oneTransaction ? `public, ${roles}` : roles};`,
      ...Object.entries(said).flatMap(([role, allowed]) => grant(owned.table, role, allowed)),
      ...sequences.map((sequence) => `grant usage on sequence ${sequence} to ringfence_app, ringfence_system;`),
    ),
    sql(
      [],
      `revoke all on table ${owned.table} from ${roles};`,
      ...sequences.map((sequence) => `revoke all on sequence ${sequence} from ringfence_app, ringfence_system;`),
    ),
  );
}

function share({ extras, oneTransaction }: PlanContext, label: string): Step {
  const reads: TableGrants = { select: 'all', insert: [], update: [], delete: false };
  const said = { ringfence_app: reads, ringfence_system: reads, ...extras.furtherGrants[label] };
  const roles = Object.keys(said).map(identifier).join(', ');
  return stepsOf('shadow', label)(
    'grants',
    'let the isolated application read it',
    sql(
      [],
      ...(oneTransaction ? [`revoke all on table ${label} from public;`] : []),
      ...Object.entries(said).flatMap(([role, allowed]) => grant(label, role, allowed)),
    ),
    sql([], `revoke all on table ${label} from ${roles};`),
  );
}

/**
 * Views and functions that run with their owner's rights show everybody's rows to whoever may use them, and everybody may
 * by default. Those who are there keep them by name; the application's role is not among those.
 */
function closeDoors({ database, ownership }: PlanContext): Step[] {
  const roles = ownership.legacyRoles.map(identifier).join(', ');
  return database.open.map(({ kind, name, privileges }) => {
    const object = `${kind === 'function' ? 'function' : kind === 'procedure' ? 'procedure' : 'table'} ${name}`;
    const list = privileges.join(', ');
    const keep = roles === '' ? [] : [`grant ${list} on ${object} to ${roles};`];
    const back = roles === '' ? [] : [`revoke ${list} on ${object} from ${roles};`];
    return stepsOf('shadow', null)(
      `close ${kind} ${name}`,
      `take the ${kind} ${name}, which runs above the policies, from everybody; who is there keeps it`,
      sql([], ...keep, `revoke ${list} on ${object} from public;`),
      sql([], `grant ${list} on ${object} to public;`, ...back),
    );
  });
}
