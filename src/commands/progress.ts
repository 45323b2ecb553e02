/**
 * A run as people follow it: on a terminal one line that is written again and again, elsewhere a line for each beginning
 * and end, and now and then one in between.
 */

import { durationText, shareText } from '../rollout/preflight/amounts.ts';
import type { Progress, RunEvent } from '../rollout/run/step-run.ts';
import { visible } from './print.ts';

export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const betweenLinesMs = 5_000;
const betweenDrawsMs = 100;
const barWidth = 20;
const columnsDefault = 100;
const noteColumnsMax = 300;

/** @param now milliseconds of a clock that never jumps */
export function progressTo(output: Output, now: () => number): (event: RunEvent) => void {
  const terminal = output.isTTY === true;
  let heading = '';
  let drawnAt = Number.NEGATIVE_INFINITY;

  function line(text: string): void {
    // The line that is being rewritten goes first.
    output.write(`${terminal ? '\r\u001b[K' : ''}${visible(text)}\n`);
  }

  function draw(text: string): void {
    output.write(`\r\u001b[K${[...visible(text)].slice(0, (output.columns ?? columnsDefault) - 1).join('')}`);
  }

  function between(progress: Progress): void {
    if (now() - drawnAt < (terminal ? betweenDrawsMs : betweenLinesMs)) return;
    drawnAt = now();
    const text = progressText(progress);
    if (text === '') return;
    if (terminal) draw(`${heading}  ${text}`);
    else line(`${heading}  ${text}`);
  }

  return (event) => {
    switch (event.kind) {
      case 'begin':
        if (event.left < event.steps)
          line(`${event.steps - event.left} of ${event.steps} steps need nothing any more.`);
        return;
      case 'step': {
        heading = `${place(event)}  ${event.step.id}`;
        // The first line in between is not due before the step has taken a while.
        drawnAt = now();
        if (terminal) draw(`${heading}  ${event.step.title}`);
        else line(`${heading}  ${event.direction === 'up' ? event.step.title : `take back: ${event.step.title}`}`);
        return;
      }
      case 'progress':
        between(event.progress);
        return;
      case 'note':
        line(event.message);
        return;
      case 'stepDone':
        line(`${place(event)}  ${event.step.id}  ${endText(event)}`);
    }
  };
}

function place({ number, of }: { number: number; of: number }): string {
  return `${String(number).padStart(String(of).length)}/${of}`;
}

function endText(event: Extract<RunEvent, { kind: 'stepDone' }>): string {
  const { rows, lockMs, attempts } = event.detail;
  return [
    `${event.direction === 'up' ? 'done' : 'taken back'} in ${durationText(event.milliseconds)}`,
    ...(rows === undefined ? [] : [`${thousands(rows)} rows`]),
    ...(lockMs === undefined || lockMs === 0 ? [] : [`lock ${lockMs} ms`]),
    ...(attempts === undefined || attempts < 2 ? [] : [`${attempts} attempts`]),
  ].join(', ');
}

/** `[######--------------] 31 %  12 345 rows/s  2 min left  held back: …`; empty when there is nothing to tell. */
export function progressText(progress: Progress): string {
  const { done, total, rowsPerSecond, secondsLeft, note } = progress;
  return [
    ...(total === null || total === 0 ? [] : [`${bar(done / total)} ${shareText(done, total)}`]),
    ...(rowsPerSecond === null ? [] : [`${thousands(Math.round(rowsPerSecond))} rows/s`]),
    ...(secondsLeft === null ? [] : [`${durationText(secondsLeft * 1_000)} left`]),
    ...(note === null ? [] : [note.slice(0, noteColumnsMax)]),
  ].join('  ');
}

function bar(share: number): string {
  const full = Math.min(barWidth, Math.max(0, Math.floor(share * barWidth)));
  return `[${'#'.repeat(full)}${'-'.repeat(barWidth - full)}]`;
}

/** 2000000 as `2 000 000`. */
export function thousands(value: number): string {
  return String(value).replaceAll(/\B(?=(\d{3})+$)/g, ' ');
}
