/** The keys that the database verifies identities with. Two at most: the present one, and the one before or after it. */
import type { ClientBase } from 'pg';
import { problem } from '../errors.ts';
import { deriveIdentityKey, type IdentityKey, identityKeyPads } from './identity.ts';

/** What may be shown of a key: its id stands in every identity that it signs. */
export interface InstalledKey {
  readonly keyId: string;
  readonly installedAt: Date;
}

const keysAtOnce = 2;

/** Newest first. @throws Problem `rollout_refused` when the database has no place for keys yet */
export async function readIdentityKeys(client: ClientBase): Promise<readonly InstalledKey[]> {
  const { rows: tables } = await client.query<{ there: boolean }>(
    "select to_regclass('ringfence.identity_keys') is not null as there",
  );
  if (tables[0]?.there !== true) {
    throw problem(
      'rollout_refused',
      'ringfence.identity_keys does not exist: nothing here verifies identities yet. `ringfence apply` makes it, in its first phase.',
    );
  }
  const { rows } = await client.query<InstalledKey>(
    'select key_id as "keyId", created_at as "installedAt" from ringfence.identity_keys order by created_at desc, key_id',
  );
  return rows;
}

/** Puts a key in; one that is there becomes the newest. */
export async function putIdentityKey(client: ClientBase, identityKey: IdentityKey): Promise<void> {
  const { inner, outer } = identityKeyPads(identityKey);
  await client.query(
    `insert into ringfence.identity_keys (key_id, inner_pad, outer_pad) values ($1, $2, $3)
     on conflict (key_id) do update set created_at = clock_timestamp()`,
    [identityKey.keyId, inner, outer],
  );
}

/** @throws Problem `rollout_refused` where two other keys are good already */
export async function installIdentitySecret(client: ClientBase, secret: string): Promise<string> {
  const identityKey = deriveIdentityKey(secret);
  await alone(client, async () => {
    const others = (await readIdentityKeys(client)).filter(({ keyId }) => keyId !== identityKey.keyId);
    if (others.length >= keysAtOnce) {
      const ids = others.map(({ keyId }) => keyId).join(' and ');
      throw problem(
        'rollout_refused',
        `${others.length} other keys are good already: ${ids}. Remove the one that nobody signs with any more: \`ringfence identity remove ${others.at(-1)?.keyId}\`.`,
      );
    }
    await putIdentityKey(client, identityKey);
  });
  return identityKey.keyId;
}

/**
 * Identities that it has signed are refused from then on.
 *
 * @param last whether the only key may go: nobody is let in then
 * @throws Problem `usage_error` when there is no such key, or it is the only one
 */
export async function removeIdentityKey(client: ClientBase, keyId: string, last: boolean): Promise<void> {
  await alone(client, async () => {
    const keys = await readIdentityKeys(client);
    if (!keys.some((key) => key.keyId === keyId)) {
      const there = keys.length === 0 ? 'there is none' : `there are: ${keys.map((key) => key.keyId).join(', ')}`;
      throw problem('usage_error', `No key here has the id ${keyId}; ${there}.`);
    }
    if (keys.length === 1 && !last) {
      throw problem(
        'usage_error',
        `${keyId} is the only key: without it every identity is refused (RF002), and no user sees a row. Say --yes to remove it.`,
      );
    }
    await client.query('delete from ringfence.identity_keys where key_id = $1', [keyId]);
  });
}

/** Of two at the same time the second sees what the first has done. Readers are not held up. */
async function alone(client: ClientBase, work: () => Promise<void>): Promise<void> {
  // Says it in words where the table is not there.
  await readIdentityKeys(client);
  await client.query('begin');
  try {
    await client.query("set local lock_timeout = '10s'");
    await client.query('lock table ringfence.identity_keys in share row exclusive mode');
    await work();
    await client.query('commit');
  } catch (error) {
    await client.query('rollback').catch(() => {});
    throw error;
  }
}
