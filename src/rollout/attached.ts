/** What is attached to a table from outside and does not bear a further column, or not the owner in its key. */
import type { Table } from './catalog.ts';
import { type Finding, fail } from './finding.ts';
import { identifier } from './identifier.ts';

/** @param ownerColumn where it is there already; what is to be added is in nobody's list */
export function publicationFaults(table: Table, ownerColumn?: string): Finding[] {
  return table.published
    .filter(({ columns }) => ownerColumn === undefined || !columns.includes(ownerColumn))
    .map(({ publication }) => {
      const name = identifier(publication);
      return fail(
        'publication-columns',
        table.label,
        `publication ${name} names the columns that it sends, and not the owner's: once the key has that (contract), Postgres refuses every UPDATE and DELETE (42P10).`,
        `Publish it whole: \`alter publication ${name} drop table …\`, then \`add table …\` without a list. Subscribers need the owner column by then.`,
      );
    });
}

/** What stands in the way of a further column. */
export function shapeFaults({ label, usedAsType, typed }: Table): Finding[] {
  const findings = usedAsType.map((column) =>
    fail(
      'row-type',
      label,
      `${column} has its rows as a type, so that Postgres refuses to add a column to it.`,
      'Make that column jsonb, or of a composite type of its own, or declare the table "ignored".',
    ),
  );
  if (typed) {
    const remedy = `alter table ${label} not of`;
    findings.push(
      fail(
        'typed-table',
        label,
        'it is a table of a type (CREATE TABLE … OF), which can have no further column.',
        remedy,
      ),
    );
  }
  return findings;
}
