/** Finds marks in a stream of bytes, in any of the forms that encodings leave them in; memory stays flat, whatever the length. */
import { markLength, readMarkNumber, stemOf, type Who } from '../synthetic/marks.ts';
import { needlesOf } from '../synthetic/needles.ts';
import type { Canaries } from './state.ts';

/** Never what stands around it: that may be anybody's. */
export interface Sighting {
  /** Bytes before it. */
  readonly offset: number;
  /** `plain`, `base64`, … */
  readonly form: string;
  /** Whose mark it is. */
  readonly who: Who;
  /** Which column it was planted in, where it can be told. */
  readonly origin: string | null;
}

export interface Search {
  feed(chunk: Buffer): void;
  /** To be called once, when nothing comes any more. */
  end(): readonly Sighting[];
  /** Bytes that were looked through. */
  readonly bytes: number;
}

/** Beyond so many in one place the rest is a number. */
const keptMax = 100;

export function searchFor(canaries: Canaries): Search {
  return new StreamSearch(canaries);
}

class StreamSearch implements Search {
  bytes = 0;
  readonly #needles;
  /** Of a mark in its longest form. */
  readonly #reach: number;
  readonly #origins: ReadonlyMap<string, string>;
  readonly #found: Sighting[] = [];
  #tail: Buffer = Buffer.alloc(0);
  /** Where the tail begins in the stream. */
  #tailAt = 0;

  constructor({ stem, marks }: Canaries) {
    this.#needles = (['a', 'b'] as const).flatMap((who) =>
      needlesOf(stemOf(stem, who)).map((needle) => ({ ...needle, who })),
    );
    this.#reach = Math.max(...this.#needles.map(({ bytes }) => bytes.length)) + markLength;
    this.#origins = new Map(marks.map(({ who, number, table, column }) => [`${who}${number}`, `${table}.${column}`]));
  }

  feed(chunk: Buffer): void {
    this.bytes += chunk.length;
    const reach = this.#reach;
    if (chunk.length < 2 * reach) {
      const window = Buffer.concat([this.#tail, chunk]);
      this.#settle(window, Math.max(0, window.length - reach));
      return;
    }
    // A chunk is not copied: what lies over its border is looked at by itself.
    this.#settle(Buffer.concat([this.#tail, chunk.subarray(0, reach)]), this.#tail.length);
    this.#settle(chunk, chunk.length - reach);
  }

  end(): readonly Sighting[] {
    this.#settle(this.#tail, this.#tail.length);
    return this.#found.toSorted((a, b) => a.offset - b.offset);
  }

  /** Notes what begins before `settled`; what may go on in the next chunk is looked at again with it. */
  #settle(window: Buffer, settled: number): void {
    for (const { bytes, form, plain, who } of this.#needles) {
      for (let at = window.indexOf(bytes); at >= 0 && at < settled; at = window.indexOf(bytes, at + 1)) {
        const end = plain ? window.subarray(at + bytes.length, at + bytes.length + 8).toString('latin1') : '';
        const origin = this.#origins.get(`${who}${readMarkNumber(end)}`) ?? null;
        if (this.#found.length < keptMax) this.#found.push({ offset: this.#tailAt + at, form, who, origin });
      }
    }
    // A copy: a part of a chunk would keep all of it.
    this.#tail = Buffer.from(window.subarray(settled));
    this.#tailAt += settled;
  }
}
