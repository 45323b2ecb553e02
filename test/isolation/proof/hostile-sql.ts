/** The proof's part on hostile SQL: issue 4, point 7. */
import { replayHostileSql, runHostileSql } from './hostile-sql/run.ts';
import type { ProofContext, ProofPart } from './part.ts';

const sizes = {
  // Two lanes, since each waits for the database half the time.
  full: {
    lanes: [
      { shape: 'level', from: 0, below: 50_000 },
      { shape: 'level', from: 50_000, below: 95_000 },
      { shape: 'skewed', from: 95_000, below: 110_000 },
    ],
    neighbours: 2_000,
  },
  short: {
    lanes: [
      { shape: 'level', from: 0, below: 1_500 },
      { shape: 'skewed', from: 1_500, below: 2_000 },
    ],
    neighbours: 60,
  },
} as const;

export const part = {
  name: 'hostile-sql',
  title: 'SQL of one’s own, as the application’s role, shows nothing of others and changes nothing of theirs',
  run: (context: ProofContext) =>
    context.path === undefined ? runHostileSql(context, sizes[context.size]) : replayHostileSql(context, context.path),
} satisfies ProofPart;
