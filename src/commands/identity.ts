/** `ringfence identity install|list|remove`: the keys that another application's identities are verified with. */
import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import { secretWeakness } from '../access/secret-strength.ts';
import type { Config } from '../config.ts';
import { problem } from '../errors.ts';
import { deriveIdentityKey } from '../isolation/identity.ts';
import {
  type InstalledKey,
  installIdentitySecret,
  readIdentityKeys,
  removeIdentityKey,
} from '../isolation/identity-keys.ts';
import { type Connection, messageOf, withConnection } from '../rollout/connection.ts';
import { withOwnedDatabase } from './database.ts';
import { printJson, table, visible } from './print.ts';

export interface SecretFlags {
  readonly json?: boolean;
  /** The secret comes on standard input, or from a file; without either from IDENTITY_SECRET. */
  readonly secretStdin?: boolean;
  readonly secretFile?: string;
}

/** @throws Problem `usage_error` without a secret that is fit for it; `rollout_refused` */
export async function runIdentityInstall(config: Config, flags: SecretFlags): Promise<void> {
  const secret = await secretOf(config, flags);
  if (secret === undefined) {
    throw problem(
      'usage_error',
      'There is no secret: set IDENTITY_SECRET, or say --secret-file or --secret-stdin. Make one with: openssl rand -base64 48',
    );
  }
  await withKeys(config, async (client) => {
    await refuseOwnSchema(client);
    const keyId = await installIdentitySecret(client, secret);
    const keys = await readIdentityKeys(client);
    if (flags.json) return printJson({ keyId, keys });
    const before = keys.find((key) => key.keyId !== keyId);
    console.log(
      [
        `The key ${keyId} is in: identities signed with this secret are accepted.`,
        ...(before === undefined
          ? []
          : [
              `The key ${before.keyId} is good still. When nobody signs with it any more:`,
              `  ringfence identity remove ${before.keyId}`,
            ]),
      ].join('\n'),
    );
  });
}

/** With a secret at hand it also says which key is that one's. */
export async function runIdentityList(config: Config, flags: SecretFlags): Promise<void> {
  const secret = await secretOf(config, flags);
  const ours = secret === undefined ? null : deriveIdentityKey(secret).keyId;
  await withKeys(config, async (client) => {
    const keys = await readIdentityKeys(client);
    if (flags.json) return printJson({ keys: keys.map((key) => ({ ...key, ...isOurs(key, ours) })) });
    console.log(listText(keys, ours));
  });
}

function isOurs({ keyId }: InstalledKey, ours: string | null): { readonly ofThisSecret?: boolean } {
  return ours === null ? {} : { ofThisSecret: keyId === ours };
}

function listText(keys: readonly InstalledKey[], ours: string | null): string {
  if (keys.length === 0) return 'No key is in: every identity is refused (RF002). See `ringfence identity install`.';
  const rows = keys.map(({ keyId, installedAt }) => ({
    key: keyId,
    installed: installedAt,
    'this secret': keyId === ours ? 'yes' : 'no',
  }));
  return table(rows, ['key', 'installed', ...(ours === null ? [] : ['this secret'])]);
}

/** @throws Problem `usage_error` when there is no such key, or it is the only one and nobody has said --yes */
export async function runIdentityRemove(
  config: Config,
  keyId: string,
  flags: { readonly json?: boolean; readonly yes?: boolean },
): Promise<void> {
  if (!/^[0-9a-f]{16}$/.test(keyId))
    throw problem('usage_error', `A key's id has 16 hexadecimal digits, not ${visible(keyId)}: see \`identity list\`.`);
  await withKeys(config, async (client) => {
    await removeIdentityKey(client, keyId, flags.yes === true);
    const keys = await readIdentityKeys(client);
    if (flags.json) printJson({ removed: keyId, keys });
    else console.log(`The key ${keyId} is gone: what it has signed is refused from now on.`);
  });
}

function withKeys(config: Config, work: (client: Connection) => Promise<void>): Promise<void> {
  return withOwnedDatabase(config, ({ ownerUrl }) => withConnection(ownerUrl, 'identity', work));
}

/** Its server keeps two keys by itself: a third party's would push one of them out. */
async function refuseOwnSchema(client: Connection): Promise<void> {
  const { rows } = await client.query<{ ours: boolean }>(
    "select to_regclass('public.ringfence_migrations') is not null as ours",
  );
  if (rows[0]?.ours !== true) return;
  throw problem(
    'rollout_refused',
    'This is our own schema: its server puts its key in when it starts, made from JWT_SECRET_KEY, and keeps the one before.',
  );
}

/** Never from the command line, which every user of the machine may read. */
async function secretOf({ identitySecret }: Config, flags: SecretFlags): Promise<string | undefined> {
  const { secretStdin = false, secretFile } = flags;
  if (secretStdin && secretFile !== undefined)
    throw problem('usage_error', '--secret-file: leave it out when the secret comes on standard input');
  if (!secretStdin && secretFile === undefined) return identitySecret;
  const from = secretStdin ? '--secret-stdin' : '--secret-file';
  const secret = (secretFile === undefined ? await readAll(process.stdin) : await fileOf(secretFile)).replace(
    /\r?\n$/,
    '',
  );
  const weakness = secretWeakness(secret);
  if (weakness !== undefined) throw problem('usage_error', `${from}: the secret ${weakness}`);
  return secret;
}

async function fileOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw problem('usage_error', `--secret-file: cannot be read: ${messageOf(error)}`);
  }
}
