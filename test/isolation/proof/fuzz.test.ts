import { expect, inject, test } from 'vitest';
import type {} from '../../support/provided.ts';
import { plantedDefects } from './fuzz/planted.ts';
import { part, runFuzz } from './fuzz.ts';
import type { ProofContext } from './part.ts';

const seed = Number(process.env.RINGFENCE_PROOF_SEED ?? 4);

function context(): ProofContext {
  const { url, templates } = inject('postgres');
  const { signal } = new AbortController();
  return { size: 'short', seed, postgresUrl: url, templates, say: () => {}, signal };
}

test(`whatever is sent from outside, seed ${seed}`, async () => {
  const { figures, faults } = await part.run(context());
  expect(faults.join('\n')).toBe('');
  expect(Number(figures.requests)).toBeGreaterThanOrEqual(2_000);
}, 240_000);

test('every planted defect is found', async () => {
  const { faults } = await runFuzz(context(), { planted: true, only: /planted/, cases: 500, deadlineMs: 6_000 });
  const missed = Object.entries(plantedDefects).filter(([route, words]) => {
    return !faults.some((fault) => (fault.startsWith(route) || fault.startsWith('the server')) && words.test(fault));
  });
  expect(
    missed.map(([route]) => route),
    faults.join('\n'),
  ).toEqual([]);
}, 240_000);
