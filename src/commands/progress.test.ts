import { describe, expect, test } from 'vitest';
import type { Step } from '../rollout/plan.ts';
import type { Progress } from '../rollout/run/step-run.ts';
import { progressText, progressTo, thousands } from './progress.ts';

const step: Step = {
  id: 'owners/public.tasks/rows',
  phase: 'owners',
  table: 'public.tasks',
  title: 'give every row its owner',
  lock: 'ROW EXCLUSIVE',
  rewrites: true,
  restores: null,
  up: null,
  down: null,
  onlineOnly: false,
};
const half: Progress = {
  done: 50,
  total: 100,
  unit: 'blocks',
  rows: 1_000,
  rowsPerSecond: 12_345.6,
  secondsLeft: 90,
  note: null,
};

function output(isTTY: boolean) {
  const written: string[] = [];
  return { isTTY, columns: 60, write: (text: string) => written.push(text), written };
}

test('progress tells share, rate and time left, and only what is known', () => {
  expect(progressText(half)).toBe('[##########----------] 50 %  12 346 rows/s  1.5 min left');
  expect(progressText({ ...half, total: null, rowsPerSecond: null, secondsLeft: null })).toBe('');
  expect(progressText({ ...half, note: 'held back: a replica is behind' })).toMatch(/left {2}held back: a replica/);
  expect(thousands(1_234_567)).toBe('1 234 567');
});

describe('a run', () => {
  const event = { direction: 'up', step, number: 7, of: 40 } as const;

  test('without a terminal is a line for each beginning and end, and seldom one in between', () => {
    const out = output(false);
    let now = 0;
    const tell = progressTo(out, () => now);
    tell({ kind: 'step', ...event });
    for (now = 0; now <= 11_000; now += 100) tell({ kind: 'progress', step, progress: half });
    tell({ kind: 'stepDone', ...event, milliseconds: 11_000, detail: { rows: 2_000, lockMs: 12, attempts: 3 } });
    expect(out.written).toEqual([
      ' 7/40  owners/public.tasks/rows  give every row its owner\n',
      ' 7/40  owners/public.tasks/rows  [##########----------] 50 %  12 346 rows/s  1.5 min left\n',
      ' 7/40  owners/public.tasks/rows  [##########----------] 50 %  12 346 rows/s  1.5 min left\n',
      ' 7/40  owners/public.tasks/rows  done in 11 s, 2 000 rows, lock 12 ms, 3 attempts\n',
    ]);
  });

  test('on a terminal is one line, never wider than it, that ends with the step', () => {
    const out = output(true);
    let now = 0;
    const tell = progressTo(out, () => now);
    tell({ kind: 'step', ...event });
    now = 1_000;
    tell({ kind: 'progress', step, progress: half });
    tell({ kind: 'progress', step, progress: half });
    tell({ kind: 'stepDone', ...event, milliseconds: 40, detail: {} });
    expect(out.written).toHaveLength(3);
    for (const text of out.written.slice(0, 2)) {
      expect(text.startsWith('\r\u001b[K')).toBe(true);
      expect(text.length - '\r\u001b[K'.length).toBeLessThan(60);
      expect(text).not.toContain('\n');
    }
    expect(out.written[2]).toBe('\r\u001b[K 7/40  owners/public.tasks/rows  done in 40 ms\n');
  });

  test('what a terminal would obey is shown', () => {
    const out = output(false);
    progressTo(out, () => 0)({ kind: 'note', message: 'waits for \u001b[2Jsomebody' });
    expect(out.written).toEqual(['waits for \\u{1b}[2Jsomebody\n']);
  });
});
