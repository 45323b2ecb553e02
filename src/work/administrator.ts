/** System mode for people: only who is an administrator at this moment, always on the record (I7). */
import type { ProductIsolation, ProductSystemScope } from '../database/isolation.ts';
import { problem } from '../errors.ts';
import type { SystemUse } from '../isolation/scope.ts';
import { recordRefusal, SystemAccounts } from '../repositories/system-accounts.ts';

/**
 * Looks the role up in the transaction that does the work: a token may be older than the loss of the role.
 *
 * @throws Problem `admin_required`
 */
export async function asAdministrator<T>(
  isolation: ProductIsolation,
  use: SystemUse,
  work: (scope: ProductSystemScope) => Promise<T>,
): Promise<T> {
  return isolation.asSystem(use, async (scope) => {
    if (!(await new SystemAccounts(scope).isAdministrator())) {
      throw problem('admin_required', 'This needs an administrator.');
    }
    return work(scope);
  });
}

/** The refused transaction is rolled back with its record, so this one gets its own. */
export async function recordRefusedAdministrator(isolation: ProductIsolation, use: SystemUse): Promise<void> {
  await isolation.withAccounts('refused system mode', (scope) => recordRefusal(scope, use.actor, use.reason));
}
