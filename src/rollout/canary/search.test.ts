import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { markOf, newStem } from '../synthetic/marks.ts';
import { searchFor } from './search.ts';
import type { Canaries } from './state.ts';

const stem = newStem();
const canaries: Canaries = {
  stem,
  users: [],
  marks: [{ who: 'b', number: 7, table: 'public.tasks', column: 'title' }],
  plantedAt: new Date(),
};
const mark = markOf(stem, 'b', 7);

function sightings(...chunks: readonly (string | Buffer)[]) {
  const search = searchFor(canaries);
  for (const chunk of chunks) search.feed(Buffer.from(chunk));
  return search.end();
}

describe('each form is found, where it begins', () => {
  const each = (form: (code: string) => string) => [...mark].map((c) => form(c.charCodeAt(0).toString(16))).join('');
  test.each<[form: string, text: string | Buffer]>([
    ['plain', mark],
    ['plain', JSON.stringify({ title: mark })],
    ['plain', encodeURIComponent(`a=${mark}&b`)],
    ['upper case', mark.toUpperCase()],
    ['hex', Buffer.from(`xyz ${mark}`).toString('hex')],
    ['base64', Buffer.from(mark).toString('base64')],
    ['base64', Buffer.from(`1${mark}`).toString('base64')],
    ['base64', Buffer.from(`12${mark}34`).toString('base64url')],
    ['URL-escaped', each((code) => `%${code}`)],
    ['JSON-escaped', each((code) => `\\u00${code}`)],
    ['HTML-escaped', each((code) => `&#x${code};`)],
    ['reversed', [...mark].toReversed().join('')],
    ['UTF-16', Buffer.from(mark, 'utf16le')],
  ])('%s', (form, text) => {
    const before = randomBytes(1000).toString('hex');
    const found = sightings(Buffer.concat([Buffer.from(before), Buffer.from(text), Buffer.from(before)]));
    expect(found).toHaveLength(1);
    expect(found[0]).toMatchObject({ form, who: 'b', origin: form === 'plain' ? 'public.tasks.title' : null });
    expect(found[0]?.offset).toBeGreaterThanOrEqual(before.length);
    expect(found[0]?.offset).toBeLessThan(before.length + Buffer.from(text).length);
  });
});

test('a mark over the border of two chunks is found once, wherever the border is', () => {
  const text = `${'.'.repeat(50)}${mark}${'.'.repeat(50)}`;
  for (let at = 0; at <= text.length; at++) {
    expect(sightings(text.slice(0, at), text.slice(at))).toEqual([
      { offset: 50, form: 'plain', who: 'b', origin: 'public.tasks.title' },
    ]);
  }
  // One byte a chunk.
  expect(sightings(...text)).toHaveLength(1);
});

test('nothing else is taken for one', () => {
  expect(sightings(markOf(newStem(), 'b', 7), `${stem}x0007`, stem, randomBytes(100_000))).toEqual([]);
});

test('a long stream takes no more memory than a short one', () => {
  const chunk = randomBytes(1 << 20);
  const search = searchFor(canaries);
  search.feed(chunk);
  const before = process.memoryUsage().arrayBuffers;
  for (let at = 0; at < 60; at++) search.feed(chunk);
  search.feed(Buffer.from(mark));
  expect(search.bytes).toBe(61 * chunk.length + mark.length);
  expect(search.end()).toMatchObject([{ offset: 61 * chunk.length }]);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(30 * chunk.length);
});
