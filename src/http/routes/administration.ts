/**
 * Administration in system mode (guide G41–G43): every owned table's rows of all users, the accounts and the access
 * log. Reading alone; each call is on the record with a reason, and so is each refusal.
 */
import type { FastifyRequest } from 'fastify';
import {
  accessLogPage,
  accessLogQuery,
  accountPage,
  systemHeaders,
  systemPage,
  systemPageQuery,
  systemRow,
  systemRowQuery,
  usersQuery,
} from '../../contract/administration.ts';
import { idParams } from '../../contract/common.ts';
import type { ProductSystemScope } from '../../database/isolation.ts';
import { Problem, problem } from '../../errors.ts';
import { ownedTables } from '../../isolation/owned-tables.ts';
import type { SystemUse } from '../../isolation/scope.ts';
import { found } from '../../repositories/base-user-scoped-repository.ts';
import { SystemAccounts } from '../../repositories/system-accounts.ts';
import { SystemRows, systemNames } from '../../repositories/system-rows.ts';
import { asAdministrator, recordRefusedAdministrator } from '../../work/administrator.ts';
import type { AppDependencies } from '../app.ts';
import { callerIfKnown, callerOf } from '../authentication.ts';
import { toProblem } from '../error-reply.ts';
import { sendJson, sendPage } from '../reply.ts';
import type { ContractApp } from '../validation.ts';

const tags = ['administration'];
const config = { access: 'admin' } as const;

type SystemRequest = FastifyRequest<{
  Querystring: { user_id?: string | undefined; reason?: string | undefined };
  Headers: { 'x-system-reason'?: string | undefined };
}>;

export async function administrationRoutes(app: ContractApp, dependencies: AppDependencies): Promise<void> {
  const { isolation, securityLog, log } = dependencies;

  app.addHook('onError', async (request, _reply, error) => {
    const actor = callerIfKnown(request);
    if (!actor) return;
    const use = { actor, reason: routeOf(request) };
    const refused = error instanceof Problem && error.code === 'admin_required';
    securityLog.event('SYSTEM_MODE', { ...about(use), outcome: refused ? 'refused' : 'failed' });
    if (!refused) return;
    await recordRefusedAdministrator(isolation, use).catch((err: unknown) => {
      // The token outlived its account (23503): there is nobody's log to write to, and the security log has it.
      if (toProblem(err).code === 'not_found') return;
      log.error({ err, req_id: request.id }, 'a refusal could not be recorded');
    });
  });

  async function inSystemMode<T>(
    request: SystemRequest,
    rows: string,
    work: (scope: ProductSystemScope) => Promise<T>,
  ) {
    const said = request.headers['x-system-reason'] ?? request.query.reason;
    const note = [rows, said].filter((part) => part !== undefined && part !== '').join('; ');
    const use: SystemUse = { actor: callerOf(request), reason: routeOf(request), ...(note === '' ? {} : { note }) };
    const result = await asAdministrator(isolation, use, work);
    securityLog.event('SYSTEM_MODE', { ...about(use), outcome: 'used' });
    return result;
  }

  /** Before 003 no row has an owner to ask for. */
  function requireOwners(userId: string | undefined): void {
    if (userId === undefined || isolation.enforcement !== 'ownerless') return;
    throw problem('validation_failed', 'user_id: rows have no owner in this schema; migrate up first.');
  }

  for (const { table } of ownedTables) {
    const name = systemNames[table];
    app.get(
      `/admin/system/${name}`,
      {
        config,
        schema: {
          tags,
          summary: `List the ${name} of all users`,
          querystring: systemPageQuery,
          headers: systemHeaders,
          response: { 200: systemPage },
        },
      },
      async (request, reply) => {
        const { user_id: userId } = request.query;
        requireOwners(userId);
        const rows = userId === undefined ? '' : `user_id=${userId}`;
        const page = await inSystemMode(request, rows, (scope) =>
          new SystemRows(scope).list(table, request.query, userId),
        );
        return sendPage(reply, page);
      },
    );
    app.get(
      `/admin/system/${name}/:id`,
      {
        config,
        schema: {
          tags,
          summary: `Read one of the ${name} of all users`,
          params: idParams,
          querystring: systemRowQuery,
          headers: systemHeaders,
          response: { 200: systemRow },
        },
      },
      async (request, reply) => {
        const { user_id: userId } = request.query;
        requireOwners(userId);
        const row = await inSystemMode(request, `id=${request.params.id}`, (scope) =>
          new SystemRows(scope).get(table, request.params.id, userId),
        );
        return sendJson(reply, found(row, 'row'));
      },
    );
  }

  app.get(
    '/admin/users',
    {
      config,
      schema: {
        tags,
        summary: 'List accounts',
        querystring: usersQuery,
        headers: systemHeaders,
        response: { 200: accountPage },
      },
    },
    async (request, reply) => {
      const page = await inSystemMode(request, '', (scope) =>
        new SystemAccounts(scope).users(request.query, request.query),
      );
      return sendPage(reply, page);
    },
  );

  app.get(
    '/admin/access-log',
    {
      config,
      schema: {
        tags,
        summary: 'Read the access log of all users, latest first',
        querystring: accessLogQuery,
        headers: systemHeaders,
        response: { 200: accessLogPage },
      },
    },
    async (request, reply) => {
      const { user_id: userId } = request.query;
      const page = await inSystemMode(request, userId === undefined ? '' : `user_id=${userId}`, (scope) =>
        new SystemAccounts(scope).accessLog(request.query, request.query),
      );
      return sendPage(reply, page);
    },
  );
}

/** The pattern, not the address: it stands in every statement, and each new text is a new statement. */
function routeOf(request: FastifyRequest): string {
  return `${request.method} ${request.routeOptions.url ?? ''}`;
}

function about({ actor, reason, note }: SystemUse) {
  return { req_id: actor.requestId, user_id: actor.userId, actor: actor.actor, reason, ...(note ? { note } : {}) };
}
