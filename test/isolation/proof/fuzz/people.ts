/** Who is in the database: victims, whose rows nobody may see or touch, and the attackers who try to. */
import { createHash } from 'node:crypto';
import { createTokenMinter, type Role } from '../../../../src/access/local-token.ts';
import { mintOpaqueToken } from '../../../../src/access/opaque-token.ts';
import { hashPassword } from '../../../../src/access/password.ts';
import { systemClock } from '../../../../src/clock.ts';
import { withOwner } from '../../../../src/database/owner.ts';
import { testSecret } from '../../../support/templates.ts';
import { plantWorld, type World } from '../../../support/world.ts';
import type { Random } from './random.ts';

export const issuer = {
  secretKey: testSecret,
  algorithm: 'HS256',
  issuer: 'ringfence',
  audience: 'ringfence-api',
} as const;

export interface Person {
  readonly id: string;
  readonly email: string;
  /** Stands in every text of this person's rows and in no request. */
  readonly mark: string;
  readonly world: World;
  readonly sessionId: string;
  readonly password: string;
  readonly accessToken: string;
  readonly apiTokens: {
    readonly good: string;
    readonly readOnly: string;
    readonly revoked: string;
    readonly expired: string;
  };
  readonly apiTokenIds: readonly string[];
  /** Everything that must be in no log. */
  readonly secrets: readonly string[];
}

/** Every password that is sent begins with this, so that it can be looked for in the logs. */
export const passwordMark = 'fuzz-Pass-phrase-';
const password = `${passwordMark}of-everybody`;
const passwordHash = hashPassword(password);

const lifeSeconds = 86_400;
const mint = createTokenMinter(issuer, lifeSeconds, systemClock);

/** An account with a session, four API tokens, and a row in every owned table. */
export async function plantPerson(
  ownerUrl: string,
  random: Random,
  { kind, roles = ['user'] }: { readonly kind: string; readonly roles?: readonly Role[] },
): Promise<Person> {
  const mark = `${kind}-${random.hex(16)}`;
  const [id, sessionId] = [random.uuid(), random.uuid()];
  const email = `${mark}@example.test`;
  const tokens = (['good', 'readOnly', 'revoked', 'expired'] as const).map((name) => {
    const rowId = random.uuid();
    return { name, rowId, ...mintOpaqueToken('api', id, rowId, createHash('sha256').update(random.hex(64)).digest()) };
  });
  const hash = await passwordHash;
  await withOwner(ownerUrl, async (owner) => {
    await owner.query(`insert into users (id, email, name, roles, password_hash) values ($1, $2, $3, $4, $5)`, [
      id,
      email,
      mark,
      roles,
      hash,
    ]);
    await owner.query(
      `insert into sessions (user_id, id, token_hash, expires_at, user_agent)
       values ($1, $2, decode(repeat('00', 32), 'hex'), now() + interval '1 day', $3)`,
      [id, sessionId, mark],
    );
    for (const { name, rowId, hash: tokenHash } of tokens) {
      await owner.query(
        `insert into api_tokens (user_id, id, name, token_hash, scopes, expires_at, revoked_at)
         values ($1, $2, $3, $4, $5, now() + $6::interval, $7)`,
        [
          id,
          rowId,
          `${mark} ${name}`,
          tokenHash,
          name === 'readOnly' ? ['read'] : ['read', 'write', 'admin'],
          name === 'expired' ? '-1 hour' : '1 day',
          name === 'revoked' ? new Date() : null,
        ],
      );
    }
  });
  const world = await plantWorld(ownerUrl, id, mark);
  const { token: accessToken } = await mint({ userId: id, email, roles, sessionId });
  const token = (name: string) => tokens.find((made) => made.name === name)?.token ?? '';
  return {
    id,
    email,
    mark,
    world,
    sessionId,
    password,
    accessToken,
    apiTokens: {
      good: token('good'),
      readOnly: token('readOnly'),
      revoked: token('revoked'),
      expired: token('expired'),
    },
    apiTokenIds: tokens.map(({ rowId }) => rowId),
    secrets: [accessToken.slice(accessToken.lastIndexOf('.') + 1), ...tokens.map((made) => made.token.slice(4))],
  };
}

/** The ids of everything that belongs to somebody. */
export function idsOf({ id, sessionId, world, apiTokenIds }: Person): string[] {
  return [id, sessionId, ...apiTokenIds, ...Object.values(world)];
}
