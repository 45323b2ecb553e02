import pg from 'pg';
import { inject } from 'vitest';
import type {} from './provided.ts';

/** Any number that no other test asks for in the maintenance database. */
const lock = 7_201_501;

/**
 * Roles and memberships are the whole server's, which test files share: one that gives a member of the application's role
 * more than it should have, and one that looks at all its members, hold this while they run.
 *
 * @returns lets the next one go on
 */
export async function holdServerRoles(): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: inject('postgres').url });
  await client.connect();
  await client.query('select pg_advisory_lock($1)', [lock]);
  return () => client.end();
}
