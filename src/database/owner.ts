/** Connections as the database's owner: for migrations and provisioning, never for serving. */
import pg from 'pg';
import { problem } from '../errors.ts';

export type OwnerConnection = pg.Client;

/** Runs `work` on a connection of its own and closes it, whatever happens. */
export async function withOwner<T>(url: string, work: (owner: OwnerConnection) => Promise<T>): Promise<T> {
  const owner = new pg.Client({ connectionString: url, application_name: 'ringfence owner' });
  try {
    await owner.connect();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw problem(
      'database_unavailable',
      `The database cannot be reached as its owner: ${reason}`,
      {},
      { cause: error },
    );
  }
  try {
    return await work(owner);
  } finally {
    await owner.end();
  }
}

/** Held while the schema or the roles change, so that several servers may start at once. Any fixed number will do. */
const schemaLock = 7_246_510_033;

export async function withSchemaLock<T>(owner: OwnerConnection, work: () => Promise<T>): Promise<T> {
  await owner.query('select pg_advisory_lock($1)', [schemaLock]);
  try {
    return await work();
  } finally {
    await owner.query('select pg_advisory_unlock($1)', [schemaLock]);
  }
}
