import { expect, test } from 'vitest';
import { z } from 'zod';
import { plainMessages } from './plain-message.ts';

const item = z.object({ size: z.int().min(1).max(9) }).strict();

test.each([
  [z.object({ n: z.number().min(1) }), { n: 0 }, 'must be at least 1, got 0'],
  [z.object({ n: z.number().max(9) }), { n: 10 }, 'must be at most 9, got 10'],
  [z.object({ n: z.int().min(1).max(9).optional() }), { n: 10 }, 'must be between 1 and 9, got 10'],
  [z.object({ n: z.int() }), { n: '1' }, 'must be a number'],
  [z.object({ n: z.int() }), { n: 1.5 }, 'must be a whole number'],
  [z.object({ n: z.number().multipleOf(5) }), { n: 7 }, 'must be a multiple of 5'],
  [z.object({ on: z.boolean() }), { on: 'yes' }, 'must be true or false'],
  [z.object({ kind: z.enum(['a', 'b']) }), { kind: 'c' }, 'must be one of a, b'],
  [z.object({ kind: z.literal('a') }), { kind: 'c' }, 'must be a'],
  [z.object({ list: z.array(z.string()).min(1).max(2) }), { list: [] }, 'must have at least 1 items'],
  [z.object({ list: z.array(z.string()).max(2) }), { list: ['', '', ''] }, 'must have at most 2 items'],
  [z.object({ list: z.array(z.string()) }), { list: 'a' }, 'must be a list'],
  [z.object({ list: z.array(item) }), { list: [{ size: 10 }] }, 'must be between 1 and 9, got 10'],
  [z.object({ item }), { item: null }, 'must be a JSON object'],
  [z.object({ item }), {}, 'is required'],
  [z.object({ either: z.union([z.string(), z.number()]) }), { either: true }, 'must be text, or must be a number'],
  [z.object({ own: z.string().regex(/^a/, 'must begin with a') }), { own: 'b' }, 'must begin with a'],
  [z.object({ nothing: z.string().nullable() }), { nothing: 1 }, 'must be text'],
] as const)('%#: %o', (schema, data, message) => {
  const parsed = schema.safeParse(data, { error: plainMessages(schema) });
  expect(parsed.error?.issues.map((issue) => issue.message)).toEqual([message]);
});
