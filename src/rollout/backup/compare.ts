/** Whether what was restored is what was saved: each table's rows and hash, read with the columns that were recorded. */
import type { ClientBase } from 'pg';
import { type Finding, fail, pass } from '../finding.ts';
import { hashTable } from '../table-hash.ts';
import { labelOf, type SavedTable } from './manifest.ts';

const remedy = 'Do not rely on this backup. Make a new one, and look for a damaged disk or a fault of the restore';

export async function compareTables(
  client: ClientBase,
  tables: readonly SavedTable[],
  say: (line: string) => void,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const [at, table] of tables.entries()) {
    const finding = await compareTable(client, table);
    findings.push(finding);
    say(
      `  compared ${at + 1}/${tables.length} ${labelOf(table)}: ${finding.severity === 'pass' ? 'equal' : 'DIFFERS'}`,
    );
  }
  return findings;
}

async function compareTable(client: ClientBase, saved: SavedTable): Promise<Finding> {
  const label = labelOf(saved);
  if (!(await exists(client, saved))) {
    return fail('backup-table-missing', label, 'The table is not in the restored backup, or lacks columns.', remedy);
  }
  const restored = await hashTable(client, label, saved.columns).catch((error: unknown) => damage(error));
  if (typeof restored === 'string') {
    return fail('backup-table-unreadable', label, `The restored table cannot be read (SQLSTATE ${restored}).`, remedy);
  }
  if (restored.rows !== saved.rows) {
    const message = `${saved.rows} rows were saved, ${restored.rows} came back.`;
    return fail('backup-rows-differ', label, message, remedy);
  }
  if (restored.hash !== saved.hash) {
    return fail(
      'backup-values-differ',
      label,
      `All ${saved.rows} rows came back, but not with the same values.`,
      remedy,
    );
  }
  return pass('backup-table-equal', label, `${saved.rows} rows came back as they were.`);
}

async function exists(client: ClientBase, { schema, name, columns }: SavedTable): Promise<boolean> {
  const { rows } = await client.query<{ found: number }>(
    `select count(*)::int as found
    from pg_catalog.pg_attribute a
      join pg_catalog.pg_class c on c.oid = a.attrelid
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relname = $2 and a.attname = any ($3) and not a.attisdropped`,
    [schema, name, columns],
  );
  if (columns.length > 0) return rows[0]?.found === columns.length;
  const there = await client.query(
    `select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = $1 and c.relname = $2`,
    [schema, name],
  );
  return there.rowCount === 1;
}

/** Class XX is corrupted data, 58 a file that is missing (manual, appendix A). What Postgres says may quote values. */
function damage(error: unknown): string {
  if (error instanceof Error && 'code' in error && /^(XX|58|22|42|54)/.test(String(error.code)))
    return String(error.code);
  throw error;
}
