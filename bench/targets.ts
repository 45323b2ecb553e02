/** What the figures are held against. */
import type { Comparison } from './rounds.ts';
import type { Memory } from './server-process.ts';

export interface Target {
  readonly name: string;
  readonly unit: '' | 'ms' | 'MiB';
  readonly atMost?: number;
  readonly atLeast?: number;
  readonly value: number;
  readonly met: boolean;
}

const addedP50MaxMs = 0.1;
const onOffMin = 0.95;
const listOfLimitMin = 0.8;
const memoryMaxMiB = 150;
const startMaxMs = 3000;

export interface Starts {
  /** On an empty data directory: initdb and every migration too. */
  readonly emptyMs: number;
  /** On the seeded one. */
  readonly seededMs: number;
}

export function targetsOf(comparisons: readonly Comparison[], memory: Memory, starts: Starts): Target[] {
  const many = Math.max(...comparisons.map(({ connections }) => connections));
  const busy = comparisons.filter(({ connections }) => connections === many);
  const list = busy.find(({ operation }) => operation === 'list');
  return [
    ...comparisons.map(({ operation, connections, pairs }) =>
      atMost(
        `${operation}: p50 that isolation adds, ${connectionsText(connections)}`,
        'ms',
        pairs.addedP50,
        addedP50MaxMs,
      ),
    ),
    ...busy.map(({ operation, pairs }) => atLeast(`${operation}: throughput on/off`, pairs.onOff, onOffMin)),
    ...(list
      ? [
          atLeast('list: of the limit, over HTTP', list.pairs.onLimit, listOfLimitMin),
          atLeast('list: of the limit, isolation core alone', list.pairs.coreLimit, listOfLimitMin),
        ]
      : []),
    atMost('memory of the server, peak', 'MiB', memory.peak, memoryMaxMiB),
    atMost('start to first answer, empty', 'ms', starts.emptyMs, startMaxMs),
    atMost('start to first answer, seeded', 'ms', starts.seededMs, startMaxMs),
  ];
}

export function connectionsText(count: number): string {
  return count === 1 ? '1 connection' : `${count} connections`;
}

function atMost(name: string, unit: Target['unit'], value: number, limit: number): Target {
  return { name, unit, atMost: limit, value, met: value <= limit };
}

function atLeast(name: string, value: number, limit: number): Target {
  return { name, unit: '', atLeast: limit, value, met: value >= limit };
}
