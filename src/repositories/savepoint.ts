/** A part of a transaction that can fail by itself. */
import { type RawBuilder, sql } from 'kysely';
import type { ProductUserScope } from '../database/isolation.ts';
import type { Compilable } from '../isolation/scope.ts';

/** Undoes what `work` did when it throws, and throws the same; what was done before stays. */
export async function inSavepoint<T>(scope: ProductUserScope, work: () => Promise<T>): Promise<T> {
  await scope.run(command(scope, sql`savepoint part`));
  try {
    const result = await work();
    await scope.run(command(scope, sql`release savepoint part`));
    return result;
  } catch (error) {
    await scope.run(command(scope, sql`rollback to savepoint part`));
    throw error;
  }
}

function command(scope: ProductUserScope, text: RawBuilder<unknown>): Compilable<unknown> {
  return { toOperationNode: () => text.toOperationNode(), compile: () => text.compile(scope.db) };
}
