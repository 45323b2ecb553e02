import { requireLogin } from '../../access/caller.ts';
import type { SignedIn } from '../../access/sessions.ts';
import { login, logoutQuery, passwordChange, refresh, registration, signedIn } from '../../contract/accounts.ts';
import { SessionRepository } from '../../repositories/sessions.ts';
import type { AppDependencies } from '../app.ts';
import { callerOf } from '../authentication.ts';
import { originOf } from '../origin.ts';
import { sendJson } from '../reply.ts';
import type { ContractApp } from '../validation.ts';

const tags = ['authentication'];

export async function authRoutes(app: ContractApp, dependencies: AppDependencies): Promise<void> {
  const { accounts, sessions, isolation } = dependencies;

  app.post(
    '/api/auth/register',
    {
      config: { access: 'open', credentials: 'address' },
      schema: { tags, summary: 'Register an account and sign in', body: registration, response: { 201: signedIn } },
    },
    async (request, reply) => {
      const answer = await accounts.register(request.body, originOf(request));
      return sendJson(reply.code(201), tokenAnswer(answer));
    },
  );

  app.post(
    '/api/auth/login',
    {
      config: { access: 'open', credentials: 'email' },
      schema: { tags, summary: 'Sign in', body: login, response: { 200: signedIn } },
    },
    async (request, reply) => sendJson(reply, tokenAnswer(await accounts.login(request.body, originOf(request)))),
  );

  app.post(
    '/api/auth/refresh',
    {
      config: { access: 'open', credentials: 'address' },
      schema: {
        tags,
        summary: 'Exchange a refresh token',
        description: 'Each refresh token is good for one exchange; using one twice ends its session.',
        body: refresh,
        response: { 200: signedIn },
      },
    },
    async (request, reply) => {
      const answer = await sessions.refresh(request.body.refresh_token, originOf(request));
      return sendJson(reply, tokenAnswer(answer));
    },
  );

  app.post(
    '/api/auth/logout',
    {
      config: { access: 'read' },
      schema: { tags, summary: 'End this session, or all', querystring: logoutQuery },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      requireLogin(caller);
      const all = request.query.all === 'true';
      const { sessionId } = caller;
      await isolation.withUser(caller, async (scope) => {
        const own = new SessionRepository(scope);
        if (all) await own.endAll();
        // An outside provider's token has no session here: its provider ends it.
        else if (sessionId !== undefined) await own.end(sessionId);
      });
      if (all && caller.actor === 'provider') await accounts.refuseProviderTokens(caller);
      return reply.code(204).send();
    },
  );

  app.post(
    '/api/auth/change-password',
    {
      config: { access: 'write', credentials: 'address' },
      schema: {
        tags,
        summary: 'Change the password',
        description: 'Ends all sessions; the one that asks goes on with the tokens of the answer. API tokens stay.',
        body: passwordChange,
        response: { 200: signedIn },
      },
    },
    async (request, reply) => {
      const answer = await accounts.changePassword(callerOf(request), request.body, originOf(request));
      return sendJson(reply, tokenAnswer(answer));
    },
  );
}

function tokenAnswer({ user, accessToken, expiresIn, refreshToken }: SignedIn): string {
  const tokens = JSON.stringify({
    access_token: accessToken,
    token_type: 'Bearer',
    expires_in: expiresIn,
    refresh_token: refreshToken,
  });
  return `{"user":${user.json},${tokens.slice(1)}`;
}
