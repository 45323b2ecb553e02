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

/** RFC 3339 has no sign and no fifth digit for a year; what Postgres writes beyond these is read by nobody. */
const firstInstant = Date.parse('0001-01-01T00:00:00Z');
const lastInstant = Date.parse('9999-12-31T23:59:59.999Z');

/** A date and time that Postgres can hold and, whatever its offset, gives back in the same form. */
export const timestamp = z.iso
  .datetime({
    offset: true,
    // Or what is compared below would be no date.
    abort: true,
    message: 'must be a date and time such as 2026-11-23T12:00:00Z',
  })
  // MAX_TZDISP_HOUR in Postgres's utils/timestamp.h; further displacements are an error there (22009).
  .refine((text) => !/[+-](?:1[6-9]|2\d):\d\d$/.test(text), 'must have an offset between -15:59 and +15:59')
  .refine(isWithinYears, 'must be within the years 0001 to 9999 in UTC');

function isWithinYears(text: string): boolean {
  const instant = Date.parse(text);
  // Postgres rounds to microseconds, Date cuts off at milliseconds: what is finer could be rounded into the year 10000.
  if (instant === lastInstant) return !/\.\d{7}/.test(text);
  return instant >= firstInstant && instant < lastInstant;
}

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
