/** What a user has seen in answers and may use again: ids by kind, cursors, credentials. */
export const kinds = [
  'projects',
  'branches',
  'tasks',
  'subtasks',
  'labels',
  'agents',
  'rules',
  'sessions',
  'tokens',
  'accounts',
] as const;
export type Kind = (typeof kinds)[number];

/** Strings that differ between two worlds and are of no form that could be recognised: kept side by side by place. */
export const secretKinds = ['cursor', 'session', 'api', 'refresh'] as const;
export type SecretKind = (typeof secretKinds)[number];

const rememberedMax = 40;

export class Knowledge {
  readonly email: string;
  readonly #ids = new Map<Kind, string[]>();

  constructor(email: string) {
    this.email = email;
  }

  ids(kind: Kind): readonly string[] {
    return this.#ids.get(kind) ?? [];
  }

  remember(kind: Kind, id: string): void {
    const known = this.#ids.get(kind) ?? [];
    if (known.includes(id)) return;
    // Newest first: index 0, the plainest choice, is what was made last.
    known.unshift(id);
    this.#ids.set(kind, known.slice(0, rememberedMax));
  }

  /** Everything in an answer that has an id, where answers have one. */
  learn(kind: Kind | undefined, body: unknown): void {
    if (kind === undefined || !isObject(body)) return;
    const { items, results, user } = body;
    this.#learnOne(kind, body);
    if (Array.isArray(items)) for (const item of items) this.#learnOne(kind, item);
    if (Array.isArray(results)) for (const result of results) if (isObject(result)) this.#learnOne(kind, result.task);
    this.#learnOne('accounts', user);
  }

  #learnOne(kind: Kind, value: unknown): void {
    if (isObject(value) && typeof value.id === 'string') this.remember(kind, value.id);
  }
}

/** What one world gave out to a user; the same place in the other world's list is its counterpart. */
export class Secrets {
  readonly #lists: Record<SecretKind, string[]> = { cursor: [], session: [], api: [], refresh: [] };

  add(kind: SecretKind, secret: string): void {
    this.#lists[kind].push(secret);
  }

  count(kind: SecretKind): number {
    return this.#lists[kind].length;
  }

  /** @param back 0 is the latest */
  get(kind: SecretKind, back: number): string {
    return this.#lists[kind].at(-1 - back) ?? 'none';
  }

  learn(body: unknown): void {
    if (!isObject(body)) return;
    if (typeof body.next_cursor === 'string') this.add('cursor', body.next_cursor);
    if (typeof body.access_token === 'string') this.add('session', body.access_token);
    if (typeof body.refresh_token === 'string') this.add('refresh', body.refresh_token);
    if (typeof body.token === 'string') this.add('api', body.token);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
