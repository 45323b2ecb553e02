import { v7 } from 'uuid';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../clock.ts';
import { JWTAuthMiddleware } from './jwt-auth-middleware.ts';
import { createTokenMinter } from './local-token.ts';

const secretKey = 'Zk3vQ9x1tB7mW5rY2nC8pL4sD6fG0hJaXe';
const local = { secretKey, algorithm: 'HS256', issuer: 'ringfence', audience: 'ringfence-api' } as const;
const userId = v7();
const subject = { userId, sessionId: v7(), email: 'ann@example.org', roles: ['user'] as const };
const middleware = new JWTAuthMiddleware({ secretKey });
const invalid = { code: 'unauthenticated', message: 'Invalid token' };

describe('JWTAuthMiddleware', () => {
  test.each(['', 'Bearer ', 'bearer ', 'BEARER  '])('%jtoken', async (prefix) => {
    const { token } = await createTokenMinter(local, 60, systemClock)(subject);
    expect(await middleware.extractUserFromToken(prefix + token)).toBe(userId);
  });

  test('issuer, audience and algorithm can be set', async () => {
    const long = secretKey + secretKey.toLowerCase();
    const other = { secretKey: long, algorithm: 'HS512', issuer: 'acme', audience: 'acme-api' } as const;
    const { token } = await createTokenMinter(other, 60, systemClock)(subject);
    expect(await new JWTAuthMiddleware(other).extractUserFromToken(token)).toBe(userId);
    await expect(middleware.extractUserFromToken(token)).rejects.toMatchObject(invalid);
  });

  test.each(['', 'Bearer', 'Bearer ', 'Bearer Bearer x', 'Basic x', 'a.b.c', 'x\ny', '🔑'])(
    'refuses %j',
    async (token) => {
      await expect(middleware.extractUserFromToken(token)).rejects.toMatchObject(invalid);
    },
  );

  test('another secret, a token that has expired', async () => {
    const minted = await createTokenMinter({ ...local, secretKey: `${secretKey}1` }, 60, systemClock)(subject);
    await expect(middleware.extractUserFromToken(minted.token)).rejects.toMatchObject(invalid);
    const hourAgo = { now: () => Date.now() - 3_600_000 };
    const { token } = await createTokenMinter(local, 60, hourAgo)(subject);
    await expect(middleware.extractUserFromToken(token)).rejects.toMatchObject({ message: 'Token expired' });
  });

  test('a user that is none', async () => {
    const { token } = await createTokenMinter(local, 60, systemClock)({ ...subject, userId: 'ann' });
    await expect(middleware.extractUserFromToken(token)).rejects.toMatchObject({
      message: 'User ID not found in request',
    });
  });

  test.each(['', 'your-production-jwt-secret', 'short', 'x'.repeat(64)])(
    'cannot be made with the secret %j',
    (weak) => {
      expect(() => new JWTAuthMiddleware({ secretKey: weak })).toThrow(
        expect.objectContaining({ code: 'config_invalid' }),
      );
    },
  );
});
