import type { ClientBase } from 'pg';

/**
 * Makes the session's role a member of another, where it is no superuser and not a member yet. For probes: inside a
 * transaction that is rolled back, so that the membership is never anybody's.
 *
 * @param privilege `SET`: it wants to become the role; `USAGE`: what binds the role is to bind it as well
 * @throws pg.DatabaseError 42501 when it may not grant the role: it has no ADMIN option, or no CREATEROLE before Postgres 16
 */
export async function joinRole(client: ClientBase, role: string, privilege: 'SET' | 'USAGE'): Promise<void> {
  // From Postgres 16 on a membership may come without SET ROLE or without inheriting; before there is no such privilege.
  const { rows } = await client.query<{ statement: string }>(
    `select format('grant %I to current_user%s', r.rolname, case when v.number >= 160000 then ' with inherit true, set true' end) as statement
     from pg_roles r, pg_roles self, (select current_setting('server_version_num')::int as number) v
     where r.rolname = $1 and self.rolname = current_user and not self.rolsuper
       and not pg_has_role(current_user, r.oid, case when $2 = 'SET' and v.number < 160000 then 'MEMBER' else $2 end)`,
    [role, privilege],
  );
  for (const { statement } of rows) await client.query(statement);
}
