/**
 * Work that must meet every row of a table, whoever does it. Policies that are in force bind the tables' owner as well; one
 * who is no superuser sees all rows as a member of the system role alone, for the length of a transaction.
 */
import type { ClientBase } from 'pg';
import { identifier } from './identifier.ts';
import { joinRole } from './join-role.ts';

const systemRole = 'ringfence_system';

/** For `row_security`: off turns rows that a policy would hide into an error, on believes system mode's policy. */
export type RowSecurity = 'on' | 'off';

/** Reads in one snapshot; whatever is done goes with the transaction. */
export async function readAllRows<T>(client: ClientBase, work: (rowSecurity: RowSecurity) => Promise<T>): Promise<T> {
  await client.query('begin isolation level repeatable read');
  try {
    return await work(await seeAllRows(client));
  } finally {
    await client.query('rollback');
  }
}

/**
 * In a transaction that is kept: the membership is given back before its end.
 *
 * @throws pg.DatabaseError 42501 when the role may not become a member
 */
export async function changeAllRows<T>(client: ClientBase, work: () => Promise<T>): Promise<T> {
  await client.query('begin');
  try {
    const member = await isMember(client);
    await client.query(`set local row_security = ${await seeAllRows(client)}`);
    const result = await work();
    if (member !== (await isMember(client))) await client.query(`revoke ${identifier(systemRole)} from current_user`);
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw error;
  }
}

async function isMember(client: ClientBase): Promise<boolean> {
  const { rows } = await client.query<{ member: boolean }>(
    "select coalesce((select pg_has_role(current_user, oid, 'USAGE') from pg_roles where rolname = $1), false) as member",
    [systemRole],
  );
  return rows[0]?.member === true;
}

/**
 * Only where system mode's policy is what it has to be, and none that restricts binds us or the system role (one of our own
 * schema's binds others): otherwise the error of `off` is right.
 */
async function seeAllRows(client: ClientBase): Promise<RowSecurity> {
  const { rows } = await client.query<{ bound: boolean; open: boolean }>(
    `select
       not (r.rolsuper or r.rolbypassrls) and exists (select from pg_policy) as bound,
       not exists (
         select from pg_class c
         where c.relforcerowsecurity and (
           exists (
             select from pg_policy p, unnest(p.polroles) bound (oid)
             where p.polrelid = c.oid and not p.polpermissive
               and (bound.oid = 0 or pg_has_role(r.oid, bound.oid, 'USAGE') or pg_has_role(s.oid, bound.oid, 'USAGE'))
           )
           or not exists (
             select from pg_policy p
             where p.polrelid = c.oid and p.polname = 'system_mode' and p.polcmd = '*'
               and pg_get_expr(p.polqual, p.polrelid) = 'true' and pg_get_expr(p.polwithcheck, p.polrelid) = 'true'
               and p.polroles = array[s.oid]
           )
         )
       ) as open
     from pg_roles r left join pg_roles s on s.rolname = $1 where r.rolname = current_user`,
    [systemRole],
  );
  if (rows[0]?.bound !== true || !rows[0].open) return 'off';
  await joinRole(client, systemRole, 'USAGE');
  return 'on';
}
