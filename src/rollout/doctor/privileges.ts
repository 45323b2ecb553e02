/** SQLSTATE 42501: what the application's role may not do on tables of users. */
import type { ClientBase } from 'pg';
import { type Finding, fail, pass, warn } from '../finding.ts';
import { identifier } from '../identifier.ts';
import type { Subject } from '../monitor/subject.ts';

interface PrivilegeRow {
  label: string;
  schema: string;
  usage: boolean;
  lacking: string[];
}

/** Of any column: what is withheld of single columns (the owner, keys) is withheld on purpose. */
const query = `
select w.label, n.nspname::text as schema, has_schema_privilege(r.oid, n.oid, 'USAGE') as usage,
  array(
    select p from unnest(array['SELECT', 'INSERT', 'DELETE']) p
    where not has_table_privilege(r.oid, c.oid, p) and (p = 'DELETE' or not has_any_column_privilege(r.oid, c.oid, p))
  ) as lacking
from unnest($1::text[]) w (label)
join pg_class c on c.oid = to_regclass(w.label) join pg_namespace n on n.oid = c.relnamespace
join pg_roles r on r.rolname = $2
order by 1`;

export async function checkPrivileges(client: ClientBase, subject: Subject): Promise<Finding[]> {
  const { appRole } = subject;
  const owned = subject.tables.filter((table) => table.class === 'owned');
  const { rows } = await client.query<PrivilegeRow>(query, [owned.map(({ table }) => table), appRole]);
  const role = identifier(appRole);
  // Where nobody has classified the tables, a privilege may be withheld on purpose.
  const severity = subject.unowned === null ? warn : fail;
  const closed = [...new Set(rows.filter(({ usage }) => !usage).map(({ schema }) => schema))].map((schema) =>
    fail(
      'schema-usage',
      `schema ${schema}`,
      `${appRole} may not use it`,
      `grant usage on schema ${identifier(schema)} to ${role}`,
    ),
  );
  const lacking = rows
    .filter((row) => row.lacking.length > 0)
    .map((row) => {
      const list = row.lacking.join(', ').toLowerCase();
      return severity(
        'table-privileges',
        row.label,
        `${appRole} lacks ${list}`,
        `grant ${list} on ${row.label} to ${role}`,
      );
    });
  if (closed.length + lacking.length > 0 || rows.length === 0) return [...closed, ...lacking];
  const message = `${appRole} may read and write the ${rows.length} tables; updating the owner, TRUNCATE and rows of others are refused with 42501 on purpose`;
  return [pass('table-privileges', undefined, message)];
}
