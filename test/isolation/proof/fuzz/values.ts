/** Values that a schema describes, and values that nobody described. */

import type { World } from '../../../support/world.ts';
import { type Api, listOf, type Operation, objectOf, rowFor, type Schema } from './operations.ts';
import { type Person, passwordMark } from './people.ts';
import type { Random } from './random.ts';

export interface Maker {
  readonly api: Api;
  readonly operation: Operation;
  readonly random: Random;
  /** Whose ids are put where an id is asked for. */
  readonly world: World;
  /** Who can sign in. */
  readonly account: Pick<Person, 'email' | 'password'>;
}

const levelsMax = 4;
const words = ['alpha', 'beta gamma', 'Δelta', 'naïve 日本', 'x', 'epsilon-7'];

/** @param field the name that the value goes by */
export function valueFor(maker: Maker, schemaOrRef: unknown, field: string, level = 0): unknown {
  const { api, random } = maker;
  const schema = api.resolve(schemaOrRef);
  const choices = [...listOf(schema.anyOf), ...listOf(schema.oneOf)];
  if (choices.length > 0) return valueFor(maker, random.pick(choices), field, level + 1);
  const all = listOf(schema.allOf);
  if (all.length > 0) return Object.assign({}, ...all.map((part) => valueFor(maker, part, field, level)));
  if ('const' in schema) return schema.const;
  if (Array.isArray(schema.enum)) return random.pick(schema.enum);
  switch (schema.type) {
    case 'object':
      return objectFor(maker, schema, level);
    case 'array': {
      const least = Number(schema.minItems ?? 0);
      const count = level > levelsMax ? least : least + random.below(2);
      return Array.from({ length: count }, () => valueFor(maker, schema.items, field, level + 1));
    }
    case 'integer':
    case 'number': {
      const least = Number(schema.minimum ?? schema.exclusiveMinimum ?? 0);
      return least + random.below(Math.min(Number(schema.maximum ?? 20) - least, 20) + 1);
    }
    case 'boolean':
      return random.chance(0.5);
    case 'null':
      return null;
    default:
      return schema.type === 'string' || 'pattern' in schema ? textFor(maker, schema, field) : random.pick(words);
  }
}

function objectFor(maker: Maker, schema: Schema, level: number): Record<string, unknown> {
  const { random } = maker;
  const required = listOf(schema.required);
  const given = Object.entries(objectOf(schema.properties)).filter(
    ([name]) => required.includes(name) || (level <= levelsMax && random.chance(0.4)),
  );
  const properties = given.map(([name, property]) => [name, valueFor(maker, property, name, level + 1)] as const);
  const extra = objectOf(schema.additionalProperties);
  const free =
    Object.keys(extra).length > 0 && level <= levelsMax ? [['k', valueFor(maker, extra, 'k', level + 2)]] : [];
  return Object.fromEntries([...properties, ...free]);
}

function textFor({ operation, random, world, account }: Maker, schema: Schema, field: string): string {
  const isId = schema.format === 'uuid' || String(schema.pattern ?? '').includes('a-fA-F');
  if (isId) return field === 'user_id' ? world.global_contexts : world[rowFor(operation, field)];
  if (schema.format === 'date-time')
    return `20${10 + random.below(80)}-0${1 + random.below(9)}-1${random.below(10)}T12:00:00Z`;
  if (field === 'email' && random.chance(0.5)) return account.email;
  if (/password/.test(field) && random.chance(0.5)) return account.password;
  if (field === 'email') return `nobody-${random.hex(12)}@example.test`;
  if (/password/.test(field)) return passwordFor(random);
  const least = Number(schema.minLength ?? 0);
  const text = `${random.pick(words)} ${random.hex(6)}`.padEnd(least, 'x');
  return text.slice(0, Math.max(least, Math.min(Number(schema.maxLength ?? 200), 200)));
}

export function passwordFor(random: Random): string {
  return passwordMark + random.hex(16);
}

/** JSON as text, byte by byte (Latin-1), that stands where a value is expected. */
export type Snippet = string;

const utf8 = (text: string) => Buffer.from(text, 'utf8').toString('latin1');
const quoted = (text: string) => utf8(JSON.stringify(text));

const types: readonly Snippet[] = [
  'null', 'true', 'false', '0', '-0', '-1', '1.5', '1e308', '9007199254740993', '2147483648', '-9223372036854775809', '""',
  '" "', '"0"', '"null"', '"true"', '[]', '{}', '[null]', '[[]]', '[{}]', '{"$gt":""}', '{"$ne":null}', '{"length":1}',
  '{"toString":1}', '{"then":1}', '{"0":"a"}', '"2026-02-30T00:00:00Z"', '"-infinity"', '"infinity"', '"now"', '"NaN"',
  '"00000000-0000-0000-0000-000000000000"', '"ffffffff-ffff-ffff-ffff-ffffffffffff"', '"{}"', '"[]"', 'undefined', 'NaN',
  "'a'", '01', '+1', '.5', '0x10', '1_000', 'tru', '[1,]', '{"a":1,}', '{a:1}', '// x', '"a" "b"',
]; // biome-ignore format: one line each would be a page

const injections: readonly Snippet[] = [
  "' or ''='", "'; drop table tasks; --", '" or ""="', "\\'; select pg_sleep(30); --", '$1', '$$', '%', '_', '%_%_%_%_%',
  '\\', "') union all select null::text --", '1; reset role', '{{7*7}}', '$' + '{7*7}', '$' + '{jndi:ldap://x/y}',
  '<script>alert(1)</script>', '../../../../etc/shadow', '..\\..\\boot.ini', '%2e%2e%2f', '%00', '(a+)+$',
  `${'a'.repeat(60)}!`, '\r\nx-injected: 1', '\nSet-Cookie: x=1', '*)(uid=*', '`id`', '$(id)', '| id', 'constructor', '__proto__',
  'a & b | c:*', '!!!', "a <-> 'b", '((((', '"', '-', 'a:*', '\t\v\f', ' '.repeat(300),
].map(quoted); // biome-ignore format: as above

const odd: readonly Snippet[] = [
  '"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\u0000"', '"\xff\xfe"', '"\xc0\x80"', '"\xc0\xaf"',
  '"\xe0\x80\xaf"', '"\xed\xa0\x80"', '"\xed\xb0\x80"', '"\xf4\x90\x80\x80"', '"\xf8\x88\x80\x80\x80"', '"\xc3"', '"a\x00b"', '"a\x1fb"',
  '"a\nb"', '"\\x41"', '"\\u00"', '"\\q"', '{"__proto__":{"admin":true}}', '{"constructor":{"prototype":{"admin":true}}}',
  '{"\\u0000":1}', '{"\\ud800":1}', '{"":""}',
  ...['\u202e', '\ufeff', '\u200b'.repeat(50), 'раураl', 'ﬁ', 'İıſK', 'é', 'é', `a${'\u0301'.repeat(300)}`, '\u2028\u2029', '😀'.repeat(99), '\u{10ffff}', '\u{e0001}', '\ufffe\uffff', '𝒶𝒹𝓂𝒾𝓃', '＇ or 1=1'].map(quoted),
]; // biome-ignore format: as above

const nested = (open: string, close: string, levels: number) => `${open.repeat(levels)}1${close.repeat(levels)}`;

const large: readonly ((random: Random) => Snippet)[] = [
  (random) => `"${'x'.repeat(200 + random.below(2_000))}"`,
  () => `"${'x'.repeat(100_000)}"`,
  () => quoted('😀'.repeat(20_000)),
  () => `"${'\\u0041'.repeat(20_000)}"`,
  () => `"${'x'.repeat(1_048_576)}"`,
  () => '1'.repeat(400),
  () => `0.${'0'.repeat(5_000)}1`,
  () => '1e400',
  () => '-1e99999',
  (random) => nested('[', ']', 60 + random.below(8)),
  () => nested('[', ']', 20_000),
  () => nested('{"a":', '}', 20_000),
  () => '['.repeat(50_000),
  () => `[${'0,'.repeat(20_000)}0]`,
  () => `[${'{},'.repeat(9_000)}{}]`,
  () => `{${Array.from({ length: 6_000 }, (_, n) => `"k${n}":${n}`).join(',')}}`,
  () => `[${'"a",'.repeat(101)}"a"]`,
  () => `[${'"00000000-0000-7000-8000-000000000000",'.repeat(500)}"00000000-0000-7000-8000-000000000000"]`,
  (random) => `${' '.repeat(random.below(100_000))}""`,
];

export const snippets = {
  types: (random: Random): Snippet => random.pick(types),
  encodings: (random: Random): Snippet => random.pick(random.chance(0.5) ? odd : injections),
  // Most are small: a megabyte takes as long as a hundred other requests.
  sizes: (random: Random): Snippet => random.pick(large)(random),
} as const;

/** Bytes for a place in an address, percent-encoded or not, as they go out. */
const addressParts: readonly string[] = [
  '', '0', '-1', '1.5', '1e999', 'NaN', 'null', 'undefined', 'true', '[]', '{}', '.', '..', '%2e', '%2e%2e', '..%2f..%2f', '..;', '%2f', '%5c',
  '%00', '%0d%0ax-injected:%201', '%c3', '%c0%80', '%c0%af', '%ed%a0%80', '%ff', '%', '%zz', '%u0041', '%25', '%2500', '%EF%BB%BF', '%e2%80%ae',
  "'", "'%20or%20''='", '%27%3b', '$1', '*', '%25_%25', '+', '%20', '%09', '%7f', ';a=b', '~', '@', '!', '(a%2b)%2b', '__proto__', 'constructor', 'toString',
  '00000000-0000-0000-0000-000000000000', 'FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF', '00000000000000000000000000000000', '%7B00000000-0000-7000-8000-000000000000%7D',
  '00000000-0000-7000-8000-000000000000%00', '00000000-0000-7000-8000-000000000000%0a', '%EF%BC%90'.repeat(8), 'a'.repeat(201), 'a'.repeat(3_000), '\xe9', '\xff\xfe', '"', '<', '\\', '|', '`', '^', '{', '}',
  '2026-13-45T99:99:99Z', '2026-01-01', '1%2C2', 'desc', '-created_at',
]; // biome-ignore format: as above

export const addressPart = (random: Random): string => random.pick(addressParts);
