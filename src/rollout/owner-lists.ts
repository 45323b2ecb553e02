/** The lists that owner columns are looked up in, as the configuration names them. */
import type { ClientBase } from 'pg';
import { problem } from '../errors.ts';
import { isUuid, readOwnerCsv } from './assign/owner-csv.ts';
import type { RolloutConfig } from './rollout-config.ts';

const linesAtOnce = 5_000;

/** Reads every list whole or not at all; what an earlier reading left goes. @throws Problem `usage_error` with file and line */
export async function readOwnerLists(client: ClientBase, config: RolloutConfig): Promise<void> {
  await client.query('begin');
  try {
    for (const [map, file] of Object.entries(config.csv)) await readList(client, map, file);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw error;
  }
}

async function readList(client: ClientBase, map: string, file: string): Promise<void> {
  await client.query('delete from ringfence_rollout.owner_map where map = $1', [map]);
  let values: string[] = [];
  let users: string[] = [];
  const store = async () => {
    await client.query(
      `insert into ringfence_rollout.owner_map (map, value, user_id)
       select $1, x.value, x.user_id from unnest($2::text[], $3::uuid[]) x (value, user_id)
       on conflict (map, value) do update set user_id = excluded.user_id`,
      [map, values, users],
    );
    values = [];
    users = [];
  };
  const seen = new Set<string>();
  for await (const { line, value, user } of readOwnerCsv(file)) {
    if (!isUuid(user)) throw problem('usage_error', `${file}, line ${line}, column 2: "${user}" must be a UUID`);
    if (seen.has(value)) throw problem('usage_error', `${file}, line ${line}, column 1: "${value}" is there twice`);
    seen.add(value);
    values.push(value);
    users.push(user);
    if (values.length === linesAtOnce) await store();
  }
  if (values.length > 0) await store();
}
