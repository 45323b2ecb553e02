/** What was done and what was found. The same fault of the same route is told once, with its smallest request. */
export interface Fault {
  readonly family: string;
  readonly operation: string;
  readonly what: string;
  /** Case of the seed; undefined for what is found at the end. */
  readonly path?: number | undefined;
  readonly request?: string | undefined;
}

export class Tally {
  readonly #families = new Map<string, number>();
  readonly #operations = new Map<string, { requests: number; reached: number }>();
  readonly #statuses = new Map<number | string, number>();
  readonly #faults = new Map<string, Fault & { count: number }>();
  requests = 0;

  count(family: string, operation: string, status: number | string): void {
    this.requests += 1;
    add(this.#families, family);
    add(this.#statuses, status);
    const known = this.#operations.get(operation) ?? { requests: 0, reached: 0 };
    known.requests += 1;
    if (typeof status === 'number' && status < 300) known.reached += 1;
    this.#operations.set(operation, known);
  }

  /** @returns whether it is new */
  fault(fault: Fault): boolean {
    const key = `${fault.operation} ${kindOf(fault.what)}`;
    const known = this.#faults.get(key);
    if (known) known.count += 1;
    else this.#faults.set(key, { ...fault, count: 1 });
    return known === undefined;
  }

  /** The request of a fault, made smaller. */
  describe(fault: Fault, request: string): void {
    for (const [key, known] of this.#faults) {
      if (known.path === fault.path && known.what === fault.what) this.#faults.set(key, { ...known, request });
    }
  }

  operations(): ReadonlyMap<string, { readonly requests: number; readonly reached: number }> {
    return this.#operations;
  }

  statuses(): Record<string, number> {
    return Object.fromEntries([...this.#statuses].sort(([a], [b]) => String(a).localeCompare(String(b))));
  }

  families(): Record<string, number> {
    return Object.fromEntries([...this.#families].sort(([a], [b]) => a.localeCompare(b)));
  }

  faults(): readonly (Fault & { readonly count: number })[] {
    return [...this.#faults.values()];
  }
}

/** What it is about, without which text, id or forgery it was this time. */
export function kindOf(what: string): string {
  return what.replaceAll(/[0-9a-f-]{8,}|\d{4,}/g, '…').slice(0, 24);
}

function add<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
