import { requireLogin } from '../../access/caller.ts';
import { systemClock } from '../../clock.ts';
import { accessLogPage, erasure, profile, profilePatch, sessionPage } from '../../contract/accounts.ts';
import { idParams, pageQuery } from '../../contract/common.ts';
import { problem } from '../../errors.ts';
import { AccessLogRepository } from '../../repositories/access-log.ts';
import { found } from '../../repositories/base-user-scoped-repository.ts';
import { ProfileRepository } from '../../repositories/profiles.ts';
import { SessionRepository } from '../../repositories/sessions.ts';
import { change } from '../../work/change.ts';
import { exportUser } from '../../work/export.ts';
import type { AppDependencies } from '../app.ts';
import { callerOf } from '../authentication.ts';
import { originOf } from '../origin.ts';
import { expectedVersion, sendDocument, sendPage } from '../reply.ts';
import type { ContractApp } from '../validation.ts';

const tags = ['user'];

export async function userRoutes(app: ContractApp, { isolation, accounts }: AppDependencies): Promise<void> {
  app.get(
    '/api/user/profile',
    {
      config: { access: 'read' },
      schema: { tags, summary: 'Read your profile', response: { 200: profile } },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const document = await isolation.readAsUser(caller, (scope) => new ProfileRepository(scope).get(caller.userId));
      return sendDocument(reply, found(document, 'user'));
    },
  );

  app.patch(
    '/api/user/profile',
    {
      config: { access: 'write' },
      schema: { tags, summary: 'Change your profile', body: profilePatch, response: { 200: profile } },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      requireLogin(caller);
      const version = expectedVersion(request.headers['if-match']);
      const document = await isolation.withUser(caller, (scope) =>
        change(new ProfileRepository(scope), 'user', caller.userId, request.body, version),
      );
      return sendDocument(reply, document);
    },
  );

  app.get(
    '/api/user/sessions',
    {
      config: { access: 'read' },
      schema: {
        tags,
        summary: 'List your sessions, newest first',
        querystring: pageQuery,
        response: { 200: sessionPage },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const page = await isolation.readAsUser(caller, (scope) =>
        new SessionRepository(scope).list(request.query, caller.sessionId),
      );
      return sendPage(reply, page);
    },
  );

  app.delete(
    '/api/user/sessions/:id',
    { config: { access: 'write' }, schema: { tags, summary: 'End one of your sessions', params: idParams } },
    async (request, reply) => {
      const caller = callerOf(request);
      requireLogin(caller);
      const ended = await isolation.withUser(caller, (scope) => new SessionRepository(scope).end(request.params.id));
      if (!ended) throw problem('not_found', 'There is no such session.');
      return reply.code(204).send();
    },
  );

  app.get(
    '/api/user/access-log',
    {
      config: { access: 'read' },
      schema: {
        tags,
        summary: 'Read what was done to your rows, newest first',
        querystring: pageQuery,
        response: { 200: accessLogPage },
      },
    },
    async (request, reply) => {
      const page = await isolation.readAsUser(callerOf(request), (scope) =>
        new AccessLogRepository(scope).list(request.query),
      );
      return sendPage(reply, page);
    },
  );

  app.get(
    '/api/user/export',
    {
      config: { access: 'read' },
      schema: {
        tags,
        summary: 'Take everything along',
        description: 'Every row you own, as of one moment, with the number of rows of each table. No secrets.',
      },
    },
    async (request, reply) => {
      const file = await exportUser(isolation, callerOf(request), systemClock);
      const { size } = await file.stat();
      return reply
        .type('application/json; charset=utf-8')
        .header('cache-control', 'private, no-store')
        .header('content-disposition', 'attachment; filename="ringfence-export.json"')
        .header('content-length', size)
        .send(file.createReadStream({ start: 0 }));
    },
  );

  app.delete(
    '/api/user',
    {
      config: { access: 'write', credentials: 'address' },
      schema: {
        tags,
        summary: 'Erase your account and everything it owns',
        description: 'Needs the password where the account has one. It cannot be undone.',
        body: erasure,
      },
    },
    async (request, reply) => {
      await accounts.erase(callerOf(request), request.body?.password, originOf(request));
      return reply.code(204).send();
    },
  );
}
