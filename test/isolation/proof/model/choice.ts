/** What requests are made of: ids of the user's own, of others, guessed and malformed; names, dates, versions. */
import type { Draw } from './draw.ts';
import type { Kind, Knowledge, Secrets } from './knowledge.ts';

/** Ids that nobody was given and everybody may try; in some worlds somebody has rows with them. */
export const guessedIds = Array.from(
  { length: 6 },
  (_, i) => `0190c0de-0000-7000-8000-00000000000${i + 1}`,
) as unknown as readonly [string, ...string[]];

/** Few, so that users meet in them. */
export const names = ['alpha', 'beta', 'Gamma ray', 'naïve 漢字', "o'hara%_\\"] as const;
export const passwords = ['correct horse battery', 'another long pass phrase'] as const;

const malformedIds = [
  'not-a-uuid',
  '00000000-0000-0000-0000-000000000000',
  'ffffffff-ffff-ffff-ffff-ffffffffffff',
  "' or true --",
  '%',
  '0190c0de-0000-7000-8000',
] as const;
const oddTexts = ['', ' ', 'x'.repeat(201), 'nul\0', '\ud800', '<b>"&'] as const;
/** All far from now: their places among the moments of a run are the same in every world. */
const dates = ['2001-02-03T04:05:06Z', '2150-12-31T23:59:59.123456Z', '2150-06-01T00:00:00+05:30'] as const;
const odd = [0, -1, 3.5, 'many', true, [], { $gt: 0 }] as const;

export class Choice {
  readonly draw: Draw;
  readonly me: Knowledge;
  readonly #others: readonly Knowledge[];
  readonly #secrets: Secrets;

  constructor(draw: Draw, me: Knowledge, others: readonly Knowledge[], secrets: Secrets) {
    this.draw = draw;
    this.me = me;
    this.#others = others;
    this.#secrets = secrets;
  }

  /** Mostly the user's own, often another's, sometimes one that may or may not be somebody's, seldom none at all. */
  id(kind: Kind): string {
    const way = this.draw.below(100);
    if (way >= 97) return this.draw.pick(malformedIds);
    if (way >= 88) return this.guessed();
    if (way >= 74) return this.foreign(kind);
    const own = this.own(kind);
    return way >= 72 ? own.toUpperCase() : own;
  }

  own(kind: Kind): string {
    const ids = this.me.ids(kind);
    return ids[this.draw.below(Math.max(ids.length, 1))] ?? this.guessed();
  }

  foreign(kind: Kind): string {
    const other = this.#others[this.draw.below(Math.max(this.#others.length, 1))];
    const ids = other?.ids(kind) ?? [];
    return ids[this.draw.below(Math.max(ids.length, 1))] ?? this.guessed();
  }

  guessed(): string {
    return this.draw.pick(guessedIds);
  }

  name(): string {
    return this.draw.chance(2) ? this.draw.pick(oddTexts) : this.draw.pick(names);
  }

  date(): string {
    return this.draw.chance(3) ? 'tomorrow' : this.draw.pick(dates);
  }

  json(): unknown {
    return this.draw.pick<unknown>([{}, { a: 1 }, { a: { b: [1, null, 'x'] }, c: null }, { id: this.guessed() }]);
  }

  /** The fields with a chance of 2 in 5 each, and seldom one that is wrong or not there. */
  some(fields: Readonly<Record<string, () => unknown>>): Record<string, unknown> {
    const chosen: Record<string, unknown> = {};
    for (const [name, make] of Object.entries(fields)) {
      const way = this.draw.below(100);
      if (way >= 60) chosen[name] = way >= 99 ? this.draw.pick<unknown>(odd) : make();
    }
    // Mass assignment: to belong to somebody else, or to be somebody else's row.
    if (this.draw.chance(2)) chosen[this.draw.pick(['user_id', 'id', 'version'])] = this.foreign('accounts');
    return chosen;
  }

  /** Like `some`, and at least one of them. */
  atLeastOne(fields: Readonly<Record<string, () => unknown>>): Record<string, unknown> {
    const chosen = this.some(fields);
    if (Object.keys(chosen).length > 0) return chosen;
    const entries = Object.entries(fields);
    const [name, make] = entries[this.draw.below(entries.length)] ?? ['none', () => null];
    return { [name]: make() };
  }

  ifMatch(): Record<string, string> {
    if (this.draw.chance(75)) return {};
    return { 'if-match': this.draw.pick(['"1"', '"2"', '"3"', '"4"', '*', 'W/"1"', '7']) };
  }

  idempotencyKey(): Record<string, string> {
    if (this.draw.chance(70)) return {};
    const key = this.draw.pick(['key-1', 'key-2', 'key-3', '"key-1"']);
    return { 'idempotency-key': this.draw.chance(4) ? '"' : key };
  }

  /** Limits, and cursors of the user's own lists, made up, and of other orders. */
  page(sort: string, key: string): Record<string, string> {
    const query: Record<string, string> = {};
    if (this.draw.chance(50)) query.limit = this.draw.pick(['1', '2', '3', '10', '100']);
    if (this.draw.chance(2)) query.limit = this.draw.pick(['0', '101', 'x']);
    const way = this.draw.below(100);
    if (way >= 75 && way < 94) query.cursor = this.secret('cursor');
    if (way >= 94 && way < 98) {
      query.cursor = Buffer.from(JSON.stringify([sort, key, this.guessed()])).toString('base64url');
    }
    if (way >= 98) query.cursor = this.draw.pick(['garbage', 'W10', '***']);
    return query;
  }

  /** Stands for what each world gave out at this place. */
  secret(kind: Parameters<Secrets['get']>[0]): string {
    const count = Math.min(this.#secrets.count(kind), 6);
    return count === 0 ? 'none' : `{{${kind}:${this.draw.below(count)}}}`;
  }
}
