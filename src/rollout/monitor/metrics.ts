/**
 * An observation as metrics. Labels hold names of tables and indexes and kinds of things, never a user's id, a role's
 * password or a statement's text: whoever may read metrics need not know who is there (isolation notes no. 58).
 */
import type { Finding } from '../finding.ts';
import type { Metric, Sample } from './exposition.ts';
import type { Observation } from './monitor.ts';
import type { ObservedStatement, StatementKind } from './statements.ts';

export function metricsOf(observation: Observation, findings: readonly Finding[]): Metric[] {
  const { statements, indexes, drift, unprotected } = observation;
  return [
    {
      name: 'ringfence_statements_collected',
      type: 'gauge',
      help: '1 when pg_stat_statements can be read.',
      samples: [{ value: statements.collected ? 1 : 0 }],
    },
    {
      name: 'ringfence_statement_calls_total',
      type: 'counter',
      help: 'Calls of statements on watched tables, by table and kind (scoped, unscoped, system, legacy).',
      samples: statementSamples(statements.statements, ({ calls }) => calls),
    },
    {
      name: 'ringfence_statement_seconds_total',
      type: 'counter',
      help: 'Time spent in statements on watched tables, by table and kind.',
      samples: statementSamples(statements.statements, ({ totalTime }) => totalTime / 1000),
    },
    {
      name: 'ringfence_owner_index_scans_total',
      type: 'counter',
      help: 'Scans of indexes that begin with the owner, since statistics were reset.',
      samples: indexes.indexes.map(({ table, index, scans }) => ({ labels: { table, index }, value: scans })),
    },
    {
      name: 'ringfence_sequential_scans_total',
      type: 'counter',
      help: 'Sequential scans of watched tables, since statistics were reset.',
      samples: indexes.tables.map(({ table, sequentialScans }) => ({ labels: { table }, value: sequentialScans })),
    },
    {
      name: 'ringfence_owner_indexes',
      type: 'gauge',
      help: 'Valid indexes that begin with the owner.',
      samples: indexes.tables.map(({ table }) => ({
        labels: { table },
        value: indexes.indexes.filter((index) => index.table === table && index.valid).length,
      })),
    },
    {
      name: 'ringfence_unprotected_tables',
      type: 'gauge',
      help: 'Watched tables on which the policy is not in force.',
      samples: [{ value: unprotected.length }],
    },
    {
      name: 'ringfence_unclassified_tables',
      type: 'gauge',
      help: 'Tables of which nobody has said whose their rows are.',
      samples: [{ value: drift.unclassified.length }],
    },
    {
      name: 'ringfence_drifted_parts',
      type: 'gauge',
      help: 'Policies, keys and grants that changed since the last verify.',
      samples: drift.changed === null ? [] : [{ value: drift.changed.length }],
    },
    {
      name: 'ringfence_findings',
      type: 'gauge',
      help: 'Findings of this look, by severity.',
      samples: (['fail', 'warn'] as const).map((severity) => ({
        labels: { severity },
        value: findings.filter((finding) => finding.severity === severity).length,
      })),
    },
  ];
}

/** A statement on two tables counts for each. */
function statementSamples(
  statements: readonly ObservedStatement[],
  measure: (statement: ObservedStatement) => number,
): Sample[] {
  const sums = new Map<string, { table: string; kind: StatementKind; value: number }>();
  for (const statement of statements) {
    for (const table of statement.tables) {
      const key = `${statement.kind} ${table}`;
      const sum = sums.get(key) ?? { table, kind: statement.kind, value: 0 };
      sums.set(key, { ...sum, value: sum.value + measure(statement) });
    }
  }
  return [...sums.values()].map(({ table, kind, value }) => ({ labels: { table, kind }, value }));
}
