import { v7 as uuidv7 } from 'uuid';
import { requireLogin } from '../../access/caller.ts';
import { mintOpaqueToken } from '../../access/opaque-token.ts';
import { systemClock } from '../../clock.ts';
import { apiTokenCreate, apiTokenMade, apiTokenPage } from '../../contract/accounts.ts';
import { idParams, pageQuery } from '../../contract/common.ts';
import { problem } from '../../errors.ts';
import { ApiTokenRepository } from '../../repositories/api-tokens.ts';
import { found } from '../../repositories/base-user-scoped-repository.ts';
import { ProfileRepository } from '../../repositories/profiles.ts';
import type { AppDependencies } from '../app.ts';
import { callerOf } from '../authentication.ts';
import { originOf } from '../origin.ts';
import { sendJson, sendPage } from '../reply.ts';
import type { ContractApp } from '../validation.ts';

const tags = ['api tokens'];

const tokensMax = 100;
const defaultLife = 90 * 24 * 3_600_000;

export async function apiTokenRoutes(app: ContractApp, { isolation, securityLog }: AppDependencies): Promise<void> {
  app.get(
    '/api/user/tokens',
    {
      config: { access: 'read' },
      schema: {
        tags,
        summary: 'List your API tokens, newest first',
        querystring: pageQuery,
        response: { 200: apiTokenPage },
      },
    },
    async (request, reply) => {
      const page = await isolation.readAsUser(callerOf(request), (scope) =>
        new ApiTokenRepository(scope).list(request.query),
      );
      return sendPage(reply, page);
    },
  );

  app.post(
    '/api/user/tokens',
    {
      config: { access: 'write' },
      schema: {
        tags,
        summary: 'Make an API token',
        description:
          'The token is in this answer and nowhere else. Idempotency-Key is refused here, since it would keep the answer.',
        body: apiTokenCreate,
        response: { 201: apiTokenMade },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      requireLogin(caller);
      if (request.headers['idempotency-key'] !== undefined) {
        throw problem('validation_failed', 'idempotency-key: not taken here, since the answer is not kept anywhere.');
      }
      const { name, scopes, expires_at } = request.body;
      const expiresAt = expiryOf(expires_at);
      const id = uuidv7();
      const { token, hash } = mintOpaqueToken('api', caller.userId, id);
      const json = await isolation.withUser(caller, async (scope) => {
        const present = await new ProfileRepository(scope).present();
        if (scopes.includes('admin') && !present?.roles.includes('admin')) {
          throw problem('admin_required', 'scopes: admin needs an administrator.');
        }
        const tokens = new ApiTokenRepository(scope);
        if ((await tokens.countUsable()) >= tokensMax) {
          throw problem('limit_reached', `There are ${tokensMax} API tokens in use; revoke one first.`);
        }
        await tokens.create({ id, name, hash, scopes, expiresAt });
        return found(await tokens.get(id), 'API token');
      });
      securityLog.event('TOKEN_CREATED', { ...about(originOf(request), caller.userId, id), scopes });
      return sendJson(reply.code(201), `${json.slice(0, -1)},"token":${JSON.stringify(token)}}`);
    },
  );

  app.delete(
    '/api/user/tokens/:id',
    {
      config: { access: 'write' },
      schema: { tags, summary: 'Revoke an API token', description: 'It stays in the list.', params: idParams },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      requireLogin(caller);
      const { id } = request.params;
      if (!(await isolation.withUser(caller, (scope) => new ApiTokenRepository(scope).revoke(id)))) {
        throw problem('not_found', 'There is no such API token.');
      }
      securityLog.event('TOKEN_REVOKED', about(originOf(request), caller.userId, id));
      return reply.code(204).send();
    },
  );
}

function about(origin: { readonly requestId: string; readonly address: string }, userId: string, tokenId: string) {
  return { user_id: userId, token_id: tokenId, request_id: origin.requestId, address: origin.address };
}

function expiryOf(text: string | null | undefined): Date | null {
  const now = systemClock.now();
  if (text === null) return null;
  if (text === undefined) return new Date(now + defaultLife);
  const expiresAt = new Date(text);
  if (!(expiresAt.getTime() > now)) throw problem('validation_failed', 'expires_at: must be in the future.');
  return expiresAt;
}
