/**
 * Two traces are compared up to the names of what is made anew in each: an id, a moment of this run, a secret. Each is
 * replaced by its place in the order of first appearance in its own trace (alpha-renaming), the same name always by
 * the same place. What is lost is the equality of absolute times and of the random part of secrets, and nothing else:
 * which ids are equal, which moments are equal, and where they stand stays visible. Moments that the caller gave (due
 * dates) are far from now and stay as they are.
 *
 * Cursors are base64url of JSON with a sort key and an id: they are opened and their inside is renamed. So are API and
 * refresh tokens, which hold their user's id, their row's, and a secret; of access tokens the claims are renamed.
 */
const patterns = [
  // A cursor in a page. Only what the server says is one: `null` stays.
  String.raw`"next_cursor":"(?<cursor>[\w-]+)"`,
  String.raw`(?<opaque>rf[rt]_[\w-]{60,})`,
  String.raw`(?<jwt>eyJ[\w-]+\.[\w-]+\.[\w-]+)`,
  '(?<id>[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})',
  String.raw`(?<moment>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d(?::?\d\d)?))`,
  // When a token was used is kept to the millisecond, so that it is another moment's equal by chance, or is not.
  '"last_used_at":"(?<used>[^"]+)"',
  // Seconds that are counted down to a moment.
  String.raw`(?<countdown>try again in \d+ seconds|"(?:retry_after|uptime_seconds)":\d+)`,
];
const anything = new RegExp(patterns.join('|'), 'g');

const day = 86_400_000;
/** Sessions and API tokens expire within this; the caller's own dates are further away. */
const horizon = 400 * day;

export class Renaming {
  readonly #names = new Map<string, number>();
  readonly #byPlace: string[] = [];
  readonly #start = Date.now();

  /** The text with every name replaced by its place. */
  apply(text: string): string {
    return text.replaceAll(anything, (found: string, ...rest: unknown[]) => {
      const groups = rest.at(-1) as Record<string, string | undefined>;
      if (groups.id !== undefined) return `‹${this.#placeOf(found.toLowerCase())}›`;
      if (groups.moment !== undefined) return this.#moment(found);
      if (groups.used !== undefined) return `"last_used_at":"‹used›"`;
      if (groups.cursor !== undefined) return `"next_cursor":"‹${this.apply(opened(groups.cursor))}›"`;
      if (groups.opaque !== undefined) return this.#opaque(found);
      if (groups.jwt !== undefined) return this.#claims(found);
      return found.replace(/\d+/, '‹n›');
    });
  }

  /** How many names there are. */
  get size(): number {
    return this.#byPlace.length;
  }

  /** The names that came after so many. */
  since(place: number): readonly string[] {
    return this.#byPlace.slice(place);
  }

  /** @returns a text that holds names of this trace with those of another one at the same places */
  translate(text: string, other: Renaming): string {
    return text.replaceAll(/[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}/g, (found) => {
      const place = this.#names.get(found.toLowerCase());
      const counterpart = place === undefined ? undefined : other.#byPlace[place];
      if (counterpart === undefined) return found;
      return found === found.toLowerCase() ? counterpart : counterpart.toUpperCase();
    });
  }

  #placeOf(name: string): number {
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    const place = this.#byPlace.push(name) - 1;
    this.#names.set(name, place);
    return place;
  }

  #moment(text: string): string {
    const at = Date.parse(text.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00'));
    if (!(at > this.#start - day && at < this.#start + horizon)) return text;
    // One moment has several spellings, such as with a T or without: their common form, to the last digit.
    const fraction = (/\.(\d+)/.exec(text)?.[1] ?? '').padEnd(6, '0');
    return `‹${this.#placeOf(`${Math.floor(at / 1000)}.${fraction}`)}›`;
  }

  #opaque(token: string): string {
    const bytes = Buffer.from(token.slice(4), 'base64url');
    return `${token.slice(0, 4)}‹${this.#placeOf(idIn(bytes, 0))} ${this.#placeOf(idIn(bytes, 16))} ${bytes.length}›`;
  }

  #claims(token: string): string {
    const claims = Buffer.from(token.split('.', 2)[1] ?? '', 'base64url').toString('utf8');
    const timeless = claims.replaceAll(/"(iat|exp|nbf)":\d+/g, '"$1":0');
    return `jwt‹${this.apply(timeless)}›`;
  }
}

function opened(cursor: string): string {
  return Buffer.from(cursor, 'base64url').toString('utf8');
}

function idIn(bytes: Buffer, from: number): string {
  const hex = bytes.subarray(from, from + 16).toString('hex');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
