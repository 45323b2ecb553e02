/** The figures as people read them. */
import type { Machine } from './machine.ts';
import { median } from './measurement.ts';
import type { Size } from './rollout-data.ts';
import { type Measured, writersAtWork } from './rollout-measure.ts';
import type { RangeFigures } from './rollout-ranges.ts';
import type { RolloutTarget } from './rollout-targets.ts';

export interface RolloutReport {
  readonly version: string;
  readonly measuredAt: string;
  readonly machine: Machine;
  readonly size: Size;
  readonly rounds: number;
  readonly measured: readonly Measured[];
  readonly ranges: readonly RangeFigures[];
  /** `apply` over few rows: its memory beside that over many. */
  readonly small: { readonly tasks: number; readonly memoryMiB: number } | null;
  readonly targets: readonly RolloutTarget[];
}

export function rolloutText(report: RolloutReport): string {
  const { machine, size, rounds } = report;
  const ways = [...new Set(report.measured.map(({ way }) => way))].toSorted();
  return [
    `ringfence ${report.version} on ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Node ${machine.node}, Postgres ${machine.postgres}`,
    `${size.tasks} rows, three indexes, ${size.projects} parents; ${writersAtWork.connections} connections of ${writersAtWork.perSecond} statements/s; ` +
      `medians of ${rounds} ${rounds === 1 ? 'round' : 'rounds'}, longest and failed of all; load before: ${machine.loadAverage.join(' ')}`,
    '',
    row('', ['owners s', 'whole s', 'rows/s', 'WAL MB', 'table MB', 'peak MiB']),
    ...ways.map((way) => workRow(way, ofWay(report, way))),
    '',
    'the application meanwhile, and the same alone for as long',
    row('', ['write ms', 'alone', 'read ms', 'alone', 'p99 write', 'alone', 'failed', 'done/s']),
    ...ways.map((way) => writersRow(way, ofWay(report, way))),
    ...ways.map((way) => `  ${way}: longest writes ${slowest(ofWay(report, way))}`),
    ...faults(report),
    '',
    ...rangeLines(report.ranges),
    ...(report.small ? [`memory: ${report.small.memoryMiB.toFixed(0)} MiB with ${report.small.tasks} rows`, ''] : []),
    ...targetLines(report.targets),
  ].join('\n');
}

function rangeLines(ranges: readonly RangeFigures[]): string[] {
  if (ranges.length === 0) return [];
  return [
    'the same update in ranges of 10 000 rows, two workers, nobody else',
    row('', ['s', 'rows/s', 'range ms', 'WAL MB', 'pages', 'table MB']),
    ...ranges.map((one) =>
      row(
        `by ${one.by}`,
        [one.seconds, one.rowsPerSecond, one.longestRangeMs, one.walMB, one.pages, one.tableMB].map(figure),
      ),
    ),
    '',
  ];
}

const ofWay = ({ measured }: RolloutReport, way: string) => measured.filter((one) => one.way === way);

function workRow(way: string, measured: readonly Measured[]): string {
  const middle = (value: (one: Measured) => number | null) => {
    const values = measured.map(value).filter((one) => one !== null);
    return values.length === 0 ? null : median(values);
  };
  const seconds = (ms: number | null) => (ms === null ? null : ms / 1000);
  return row(
    way,
    [
      seconds(middle((one) => one.ownersMs)),
      seconds(middle((one) => one.wholeMs)),
      middle((one) => one.rowsPerSecond),
      middle((one) => one.walMB),
      middle((one) => one.tableMB),
      middle((one) => one.memoryMiB),
    ].map(figure),
  );
}

function writersRow(way: string, measured: readonly Measured[]): string {
  const most = (value: (one: Measured) => number) => Math.max(...measured.map(value));
  const middle = (value: (one: Measured) => number) => median(measured.map(value));
  return row(
    way,
    [
      most((one) => one.writers.writes.longest),
      most((one) => one.alone.writes.longest),
      most((one) => one.writers.reads.longest),
      most((one) => one.alone.reads.longest),
      middle((one) => one.writers.writes.p99),
      middle((one) => one.alone.writes.p99),
      most((one) => one.writers.failed),
      middle((one) => one.writers.perSecond),
    ].map(figure),
  );
}

function slowest(measured: readonly Measured[]): string {
  const worst = new Map<string, number>();
  for (const { name, longestWriteMs } of measured.flatMap((one) => one.writers.byInterval)) {
    worst.set(name, Math.max(longestWriteMs, worst.get(name) ?? 0));
  }
  return [...worst]
    .toSorted(([, a], [, b]) => b - a)
    .slice(0, 3)
    .map(([name, ms]) => `${name} ${ms.toFixed(0)} ms`)
    .join(', ');
}

function faults({ measured }: RolloutReport): string[] {
  const of = new Set(measured.flatMap((one) => one.writers.faults.map(({ message }) => `${one.way}: ${message}`)));
  return [...of].map((line) => `  failed with ${line}`);
}

function targetLines(targets: readonly RolloutTarget[]): string[] {
  if (targets.length === 0) return [];
  const width = Math.max(...targets.map(({ name }) => name.length));
  const missed = targets.filter(({ met }) => !met).length;
  return [
    'targets',
    ...targets.map(
      ({ name, unit, value, atMost, met }) =>
        `  ${name.padEnd(width)}  ${figure(value).padStart(8)} ${unit.padEnd(3)}  ≤ ${String(atMost).padEnd(5)} ${met ? 'met' : 'MISSED'}`,
    ),
    missed === 0 ? `  all ${targets.length} met` : `  ${missed} of ${targets.length} missed`,
  ];
}

function figure(value: number | null): string {
  if (value === null || Number.isNaN(value)) return '–';
  return value.toFixed(Number.isInteger(value) || Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2);
}

function row(name: string, cells: readonly string[]): string {
  return `  ${name.padEnd(22)}${cells.map((cell) => cell.padStart(10)).join('')}`;
}
