/** Everything the application's roles can reach has a class, or is a fault by name. */
import type { ClientBase } from 'pg';
import { type Finding, fail } from '../../finding.ts';
import type { Check, Context } from '../check.ts';
import { classify, type Rules } from './classify.ts';
import { type Class, type Classified, type Found, type Kind, type Reviewed, titleOf } from './found.ts';
import { closureQueries, kinds, rolesQuery } from './queries.ts';

export interface Closure {
  /** The application's role first, then log-ins that work through it, and all that these can become. */
  readonly roles: readonly string[];
  readonly objects: readonly Classified[];
  /** Large objects are counted, and listed where the application reaches them. */
  readonly largeObjects: number;
}

/** One snapshot; names are qualified whatever the session's search path is. */
export async function readClosure(context: Context, reviewed: Reviewed = {}): Promise<Closure> {
  const { client } = context;
  await client.query('begin isolation level repeatable read read only');
  try {
    await client.query("set local search_path = ''");
    return await closureNow(context, reviewed);
  } finally {
    await client.query('rollback');
  }
}

/** In the transaction that is there, with an empty search path. */
export async function closureNow(context: Context, reviewed: Reviewed): Promise<Closure> {
  const { client, catalog, expectation } = context;
  const roles = await readRoles(context);
  const oids = roles.map(({ oid }) => oid);
  const found: Found[] = [];
  for (const query of closureQueries(catalog.serverVersion)) found.push(...(await rowsOf(client, query, oids)));
  const rules = rulesOf(context, reviewed);
  const objects = found.map((one) => withExtension(classify(one, rules), reviewed));
  const { rows } = await client.query<{ count: number }>('select count(*)::int as count from pg_largeobject_metadata');
  const order = (one: Classified) => kinds.indexOf(one.kind);
  return {
    roles: roles.length > 0 ? roles.map(({ name }) => name) : [expectation.ownership.appRole],
    objects: objects.toSorted((a, b) => order(a) - order(b) || (a.name < b.name ? -1 : 1)),
    largeObjects: rows[0]?.count ?? 0,
  };
}

async function rowsOf(client: ClientBase, query: string, oids: readonly number[]): Promise<readonly Found[]> {
  // Not every query asks for the roles, and a parameter must be of a type.
  const sql = `with roles as (select $1::oid[]) select * from (${query}) found`;
  return (await client.query<Found>(sql, [oids])).rows;
}

async function readRoles({ client, expectation, guarded }: Context): Promise<readonly { oid: number; name: string }[]> {
  const owners = [...new Set(guarded.map(({ table }) => table.owner))];
  const { rows } = await client.query<{ oid: number; name: string }>(rolesQuery, [
    expectation.ownership.appRole,
    owners,
  ]);
  return rows;
}

function rulesOf({ catalog, expectation, guarded }: Context, reviewed: Reviewed): Rules {
  const declared = (wanted: 'shared' | 'ignored') =>
    new Set(
      expectation.ownership.unowned
        .filter((unowned) => unowned.class === wanted)
        .flatMap(({ table }) => [table, ...(catalog.tables.get(table)?.partitions ?? [])]),
    );
  return {
    expectation,
    guarded: new Map(guarded.map((one) => [one.label, one])),
    shared: declared('shared'),
    ignored: declared('ignored'),
    reviewed,
  };
}

/** `extension postgis_topology` stands for all that it brought, but for what runs as its owner. */
function withExtension(one: Classified, reviewed: Reviewed): Classified {
  const why = one.extension === null ? undefined : reviewed[`extension ${one.extension}`];
  if (one.class !== 'unclassified' || why === undefined) return one;
  if (one.kind === 'function' && one.facts.asCaller === false) return one;
  return { ...one, class: 'shared', reason: `reviewed: ${why}` };
}

/** Beyond so many of a kind the rest is a number. */
const namedMax = 25;

export function closureFaults({ objects }: Closure): Finding[] {
  const open = objects.filter((one) => one.class === 'unclassified');
  return [...Map.groupBy(open, ({ kind }) => kind)].flatMap(([kind, group]) => {
    const named = group
      .slice(0, namedMax)
      .map((one) => fail('unclassified', titleOf(one), one.reason, one.remedy ?? 'Look at it.'));
    const rest = group.length - named.length;
    return rest === 0
      ? named
      : [...named, fail('unclassified', kind, `and ${rest} more`, 'See --json for all of them.')];
  });
}

export type Counts = Readonly<Record<Class, number>>;

export function closureCounts({ objects }: Closure): readonly (Counts & { readonly kind: Kind })[] {
  return kinds.map((kind) => {
    const of = (wanted: Class) => objects.filter((one) => one.kind === kind && one.class === wanted).length;
    return { kind, owned: of('owned'), shared: of('shared'), denied: of('denied'), unclassified: of('unclassified') };
  });
}

/** @param onRead told what was found, for the page */
export function closureCheck(reviewed: Reviewed, onRead: (closure: Closure) => void): Check {
  return {
    name: 'closure',
    since: 'cutover',
    holds: () => 'everything that the application’s roles can reach is owned, shared or denied',
    run: async (context) => {
      const closure = await readClosure(context, reviewed);
      onRead(closure);
      return closureFaults(closure);
    },
  };
}
