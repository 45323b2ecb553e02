/** What every part of the wire contract is made of. Read by the browser too: it imports zod and nothing else. */
import { z } from 'zod';

/** Canonical UUID, any version; upper case is accepted and folded. */
export const id = z
  .string()
  .regex(/^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/, 'must be a UUID')
  .transform((text) => text.toLowerCase())
  .describe('A UUID.');

export const idParams = z.object({ id }).strict();

/** Text that Postgres and every client can hold: no NUL, no lone surrogate. Lengths are counted in code points. */
export function text(min: number, max: number) {
  return z
    .string()
    .refine((value) => !value.includes('\0') && value.isWellFormed(), 'must not contain NUL or a lone surrogate')
    .refine((value) => inRange(value, min, max), `must be ${min} to ${max} characters long`)
    .meta({ minLength: min, maxLength: max });
}

/** Like `text`, without white space around it: names and titles. */
export function name(max: number) {
  return z
    .string()
    .trim()
    .refine((value) => !value.includes('\0') && value.isWellFormed(), 'must not contain NUL or a lone surrogate')
    .refine((value) => inRange(value, 1, max), `must be 1 to ${max} characters long`)
    .meta({ minLength: 1, maxLength: max });
}

function inRange(value: string, min: number, max: number): boolean {
  // Code points, as char_length counts in Postgres; never more than UTF-16 units, so a long text is refused cheaply.
  if (value.length > max * 2) return false;
  const length = [...value].length;
  return length >= min && length <= max;
}

/** A JSON object of the caller's own making, stored as it is. */
export const jsonObject = z.record(z.string(), z.json());

export const timestamp = z.iso.datetime({
  offset: true,
  message: 'must be a date and time such as 2026-11-23T12:00:00Z',
});

export const pageQuery = z
  .object({
    limit: z.coerce.number().int().min(1).max(100).default(50),
    cursor: z.string().min(1).max(2_000).optional(),
  })
  .strict();

/** A page of a list; `next_cursor` is null on the last page. */
export function pageOf<Item extends z.ZodType>(item: Item) {
  return z.object({ items: z.array(item), next_cursor: z.string().nullable() });
}

/** A PATCH body: any of the fields, at least one. */
export function patchOf<Shape extends z.ZodRawShape>(shape: Shape) {
  return z
    .object(shape)
    .partial()
    .strict()
    .refine((body) => Object.keys(body).length > 0, 'must name at least one field to change');
}

/** What every stored resource carries. */
export const stored = {
  id: z.uuid(),
  version: z.int().min(1),
  created_at: z.string(),
  updated_at: z.string(),
};
