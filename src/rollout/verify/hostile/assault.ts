/** One attempt: the statements as the application's role with the attacker's identity, what came back, and what it changed. */
import pg, { type ClientBase } from 'pg';
import { identifier } from '../../identifier.ts';

export interface Answer {
  /** SQLSTATE, or null when all went through. */
  readonly code: string | null;
  /** Rows returned or changed by the last statement. */
  readonly count: number;
  /** All that was said: rows, messages, details, notices. */
  readonly said: string;
  /** What the probe behind it found. */
  readonly after: string | null;
}

export class Assault {
  readonly #client: ClientBase;
  readonly #become: string;
  readonly #identity: string;
  readonly #probe: string;
  readonly #notices: string[] = [];

  /** @param probe a statement with one text for an answer, as somebody who sees all rows */
  constructor(client: ClientBase, appRole: string, identity: string, probe: string) {
    this.#client = client;
    this.#become = `deallocate all; savepoint assault; set local ringfence.rollout = 'off'; set local role ${identifier(appRole)}`;
    this.#identity = identity;
    this.#probe = probe;
    // A notice carries what RAISE says; Node's own message is the rest.
    client.on('notice', (notice) => this.#notices.push([notice.message, notice.detail, notice.hint].join(' ')));
  }

  async make(statements: readonly string[]): Promise<Answer> {
    const client = this.#client;
    const said: string[] = [];
    this.#notices.length = 0;
    let count = 0;
    let code: string | null = null;
    let after: string | null = null;
    await client.query(this.#become);
    try {
      // As the server's first statement of a transaction does.
      await client.query("select set_config('ringfence.identity', $1, true), ringfence.current_user_id()", [
        this.#identity,
      ]);
      for (const sql of statements) {
        const result = await client.query<Record<string, unknown>>(sql);
        count = result.rowCount ?? 0;
        said.push(textOf(result.rows));
      }
      after = await this.probe();
    } catch (error) {
      if (!(error instanceof pg.DatabaseError) || error.code === undefined) throw error;
      code = error.code;
      count = 0;
      said.push([error.message, error.detail, error.hint, error.where, error.internalQuery].join(' '));
    } finally {
      await client.query('rollback to savepoint assault; release savepoint assault');
    }
    return { code, count, said: [...said, ...this.#notices].join('\n'), after };
  }

  /** Whatever the attempt has set is set back before somebody else looks. */
  async probe(): Promise<string> {
    await this.#client.query(
      "set local role none; set local ringfence.rollout = 'on'; set local row_security = on; set local search_path = pg_catalog",
    );
    const { rows } = await this.#client.query<{ hash: string | null }>(this.#probe);
    return rows[0]?.hash ?? '';
  }
}

function textOf(rows: readonly unknown[]): string {
  return JSON.stringify(rows, (_, value: unknown) => {
    // A buffer has been turned into an object before it comes here.
    if (typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer' && 'data' in value) {
      return Array.isArray(value.data) ? Buffer.from(value.data).toString('latin1') : value;
    }
    return value;
  });
}
