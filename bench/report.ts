/** The figures as people read them. */
import type { Machine } from './machine.ts';
import { variants } from './measurement.ts';
import type { Comparison, RoundOptions } from './rounds.ts';
import type { Memory } from './server-process.ts';
import type { StatementCost } from './statement-cost.ts';
import { connectionsText, type Starts, type Target } from './targets.ts';

export interface Report {
  readonly version: string;
  readonly measuredAt: string;
  readonly machine: Machine;
  readonly data: { readonly users: number; readonly tasks: number };
  readonly options: RoundOptions;
  readonly comparisons: readonly Comparison[];
  readonly memory: { readonly on: Memory; readonly off: Memory };
  readonly starts: Starts;
  readonly statementMicroseconds: Readonly<Record<string, StatementCost>>;
  readonly targets: readonly Target[];
}

const names = { on: 'isolation on', off: 'isolation off', limit: 'the limit', core: 'isolation core' } as const;

export function reportText(report: Report): string {
  const { machine, data, options } = report;
  return [
    `ringfence ${report.version} on ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Node ${machine.node}, Postgres ${machine.postgres}`,
    `${data.users} users, ${data.tasks} tasks; medians of ${options.rounds} rounds of ${options.windowMs} ms; load before: ${machine.loadAverage.join(' ')}`,
    '',
    ...report.comparisons.flatMap(comparisonLines),
    ...statementLines(report.statementMicroseconds),
    '',
    ...targetLines(report.targets),
  ].join('\n');
}

function comparisonLines({ operation, connections, figures, pairs }: Comparison): string[] {
  return [
    `${operation}, ${connectionsText(connections)}`,
    row('', ['p50 ms', 'p99 ms', 'requests/s']),
    ...variants.map((variant) => {
      const { p50, p99, perSecond } = figures[variant];
      return row(names[variant], [p50.toFixed(3), p99.toFixed(3), perSecond.toFixed(0)]);
    }),
    `  on − off ${signed(pairs.addedP50)} ms p50   on/off ${pairs.onOff.toFixed(3)}   on/limit ${pairs.onLimit.toFixed(3)}   core/limit ${pairs.coreLimit.toFixed(3)}`,
    '',
  ];
}

function statementLines(costs: Report['statementMicroseconds']): string[] {
  return [
    'making a statement that is not prepared',
    row('', ['build µs', 'filter µs', 'compile µs', 'sum µs']),
    ...Object.entries(costs).map(([name, { build, filter, compile }]) =>
      row(
        name,
        [build, filter, compile, build + filter + compile].map((value) => value.toFixed(1)),
      ),
    ),
  ];
}

function targetLines(targets: readonly Target[]): string[] {
  const width = Math.max(...targets.map(({ name }) => name.length));
  const missed = targets.filter(({ met }) => !met).length;
  return [
    'targets',
    ...targets.map(({ name, unit, value, atMost, atLeast, met }) => {
      const digits = unit === 'MiB' || atMost === undefined || atMost > 100 ? (unit === '' ? 3 : 0) : 3;
      const bound = atMost === undefined ? `≥ ${atLeast}` : `≤ ${atMost}`;
      return `  ${name.padEnd(width)}  ${value.toFixed(digits).padStart(8)} ${unit.padEnd(3)}  ${bound.padEnd(7)} ${met ? 'met' : 'MISSED'}`;
    }),
    missed === 0 ? `  all ${targets.length} met` : `  ${missed} of ${targets.length} missed`,
  ];
}

function row(name: string, cells: readonly string[]): string {
  return `  ${name.padEnd(16)}${cells.map((cell) => cell.padStart(12)).join('')}`;
}

function signed(value: number): string {
  return `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;
}

/** Rounded to what was measured, so that a committed result can be read and compared. */
export function roundedJson(report: object): string {
  const rounded = (_: string, value: unknown) =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
  return `${JSON.stringify(report, rounded, 2)}\n`;
}
