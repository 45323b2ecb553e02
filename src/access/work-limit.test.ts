import { expect, test } from 'vitest';
import { createWorkLimit } from './work-limit.ts';

test('no more than so many run at once, all run, in order, also after one has failed', async () => {
  const limit = createWorkLimit(2, 100);
  const started: number[] = [];
  let running = 0;
  let most = 0;
  const jobs = Array.from({ length: 20 }, (_, i) =>
    limit.run(async () => {
      started.push(i);
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      if (i === 3) throw new Error('three');
      return i;
    }),
  );
  const results = await Promise.allSettled(jobs);
  expect(most).toBe(2);
  expect(started).toEqual(Array.from({ length: 20 }, (_, i) => i));
  expect(results.filter((result) => result.status === 'rejected')).toHaveLength(1);
  expect(await limit.run(async () => 'later')).toBe('later');
});

test('who comes when the queue is full is sent away at once', async () => {
  const limit = createWorkLimit(1, 1);
  const gate = Promise.withResolvers<string>();
  const first = limit.run(() => gate.promise);
  const second = limit.run(async () => 'second');
  await expect(limit.run(async () => 'third')).rejects.toMatchObject({ code: 'unavailable' });
  gate.resolve('first');
  expect(await Promise.all([first, second])).toEqual(['first', 'second']);
});
