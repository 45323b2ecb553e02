/**
 * The demo as it happens: on a terminal a picture that is drawn again and again, with a clock for each of the old
 * application's workers; elsewhere plain lines.
 */
import type { DemoEvent, Stage } from '../rollout/demo/demo.ts';
import type { Figures } from '../rollout/demo/old-application.ts';
import type { Phase } from '../rollout/plan.ts';
import { durationText } from '../rollout/preflight/amounts.ts';
import type { Progress, RunEvent } from '../rollout/run/step-run.ts';
import { table, visible } from './print.ts';
import { type Output, progressText, thousands } from './progress.ts';

const betweenDrawsMs = 100;
const betweenLinesMs = 5_000;
const columnsDefault = 100;

const titles: Readonly<Record<Stage, string>> = {
  fill: 'Making the database',
  before: 'The old application begins to work',
  isolate: 'Isolating it',
  verify: 'Verifying it',
  look: 'Looking as two users',
  rollback: 'Taking it back',
  compare: 'Comparing every row',
};

export interface DemoView {
  show(event: DemoEvent): void;
  /** Leaves the cursor below what is drawn. */
  end(): void;
}

/** @param now milliseconds of a clock that never jumps */
export function demoView(output: Output, now: () => number): DemoView {
  const terminal = output.isTTY === true;
  const started = now();
  let drawnAt = Number.NEGATIVE_INFINITY;
  let drawnLines = 0;
  let heading = '';
  let progress: Progress | null = null;
  let figures: readonly Figures[] = [];
  let phase: { name: Phase; direction: string; since: number; steps: number } | null = null;

  function clear(): void {
    if (drawnLines > 0) output.write(`\u001b[${drawnLines}A\r\u001b[J`);
    drawnLines = 0;
  }

  function line(text: string): void {
    clear();
    output.write(`${clockText(now() - started)}  ${text}\n`);
    draw();
  }

  function draw(): void {
    if (!terminal) return;
    clear();
    const columns = output.columns ?? columnsDefault;
    const picture = ['', `  ${heading}`, `  ${progress === null ? '' : progressText(progress)}`];
    if (figures.length > 0)
      picture.push(
        '',
        ...figuresText(figures)
          .split('\n')
          .map((text) => `  ${text}`),
      );
    const lines = picture.map((text) => [...visible(text)].slice(0, columns - 1).join(''));
    output.write(`${lines.join('\n')}\n`);
    drawnLines = lines.length;
    drawnAt = now();
  }

  function between(): void {
    if (now() - drawnAt < (terminal ? betweenDrawsMs : betweenLinesMs)) return;
    drawnAt = now();
    if (terminal) draw();
    else if (figures.length > 0)
      line(`  ${[heading, progressOf(progress), sumsText(figures)].filter(Boolean).join('; ')}`);
  }

  function endPhase(): void {
    if (phase === null) return;
    const { name, direction, since, steps } = phase;
    phase = null;
    line(
      `  ${name.padEnd(8)} ${direction === 'up' ? 'done' : 'taken back'}: ${steps} steps in ${durationText(now() - since)}`,
    );
  }

  function run(event: RunEvent): void {
    if (event.kind === 'step') {
      if (phase?.name !== event.step.phase || phase.direction !== event.direction) {
        endPhase();
        phase = { name: event.step.phase, direction: event.direction, since: now(), steps: 0 };
      }
      phase.steps += 1;
      heading = `${event.number}/${event.of}  ${visible(event.step.id)}: ${event.step.title}`;
      progress = null;
    } else if (event.kind === 'progress') progress = event.progress;
    else if (event.kind === 'note') line(`  ${visible(event.message)}`);
    between();
  }

  return {
    show(event) {
      switch (event.kind) {
        case 'stage':
          heading = titles[event.stage];
          progress = null;
          line(heading);
          return;
        case 'stageDone':
          endPhase();
          heading = '';
          progress = null;
          line(`  in ${durationText(event.milliseconds)}${figures.length > 0 ? `; ${sumsText(figures)}` : ''}`);
          return;
        case 'part':
          return line(`  ${event.what} …`);
        case 'run':
          return run(event.event);
        case 'figures':
          ({ figures } = event);
          return between();
        case 'attempts':
          for (const { what, answer, asItShould } of event.attempts) {
            line(`  ${what}: ${visible(answer)}${asItShould ? '' : '  (WRONG)'}`);
          }
      }
    },
    end() {
      clear();
    },
  };
}

function clockText(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1_000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

function progressOf(progress: Progress | null): string {
  return progress === null ? '' : progressText({ ...progress, note: null });
}

function sumsText(figures: readonly Figures[]): string {
  const done = (kind: Figures['kind']) => figures.reduce((sum, one) => sum + (one.kind === kind ? one.done : 0), 0);
  const failed = figures.reduce((sum, one) => sum + one.failed, 0);
  return `${thousands(done('write'))} writes (longest ${longestOf(figures, 'write')}), ${thousands(done('read'))} reads (longest ${longestOf(figures, 'read')}), ${failed} failed`;
}

/** One that is waiting at this moment counts for as long as it has waited. */
function longestOf(figures: readonly Figures[], kind: Figures['kind']): string {
  const longest = figures.map((one) => (one.kind === kind ? Math.max(one.longestMs, one.atWorkMs) : 0));
  return durationText(Math.max(0, ...longest));
}

/** Who is at it for longer than this is waiting for somebody. */
const waitingMs = 200;

/** A line for each worker of the old application. */
export function figuresText(figures: readonly Figures[]): string {
  const rows = figures.map((one) => ({
    'the old application': one.name,
    done: thousands(one.done).padStart(8),
    failed: String(one.failed).padStart(6),
    last: (one.atWorkMs > waitingMs ? `waits ${durationText(one.atWorkMs)}` : durationText(one.lastMs)).padStart(7),
    longest: durationText(one.longestMs).padStart(7),
    during: one.longestDuring,
  }));
  return table(rows, ['the old application', 'done', 'failed', 'last', 'longest', 'during']);
}
