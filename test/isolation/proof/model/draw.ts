/**
 * Choices out of a list of numbers. Whatever a request is made of is chosen here, so shrinking a request is shrinking
 * numbers, which fast-check can do; past the end, and at zero, comes the plainest choice.
 */
export class Draw {
  readonly #numbers: readonly number[];
  #next = 0;

  constructor(numbers: readonly number[]) {
    this.#numbers = numbers;
  }

  /** @returns an integer from 0 up to, and not including, `bound` */
  below(bound: number): number {
    const number = this.#numbers[this.#next] ?? 0;
    this.#next += 1;
    return number % bound;
  }

  pick<T>(options: readonly [T, ...T[]]): T {
    return options[this.below(options.length)] ?? options[0];
  }

  /** @param percent how often this is true when all numbers are equally likely */
  chance(percent: number): boolean {
    return this.below(100) >= 100 - percent;
  }
}
