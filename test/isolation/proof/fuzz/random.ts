/** Numbers out of a seed: the same seed and case give the same request, whatever was sent before it. */
export class Random {
  #state: number;

  constructor(seed: number, path = 0) {
    this.#state = (Math.imul(seed | 0, 0x9e3779b1) ^ Math.imul(path + 1, 0x85ebca6b)) | 0;
    for (let i = 0; i < 4; i++) this.next();
  }

  /** An integer from 0 to 2³² − 1 (splitmix32). */
  next(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** An integer from 0 to `end` − 1. */
  below(end: number): number {
    return end <= 1 ? 0 : this.next() % end;
  }

  chance(probability: number): boolean {
    return this.next() < probability * 0x1_0000_0000;
  }

  pick<T>(choices: readonly T[]): T {
    if (choices.length === 0) throw new Error('nothing to choose from');
    return choices[this.below(choices.length)] as T;
  }

  shuffled<T>(items: readonly T[]): T[] {
    const keyed = items.map((item) => ({ item, key: this.next() }));
    return keyed.sort((a, b) => a.key - b.key).map(({ item }) => item);
  }

  some<T>(choices: readonly T[], probability: number): T[] {
    return choices.filter(() => this.chance(probability));
  }

  hex(chars: number): string {
    return Array.from({ length: chars }, () => this.below(16).toString(16)).join('');
  }

  uuid(): string {
    const [a, b, c, d, e] = [this.hex(8), this.hex(4), this.hex(3), this.hex(3), this.hex(12)];
    return `${a}-${b}-7${c}-8${d}-${e}`;
  }
}
