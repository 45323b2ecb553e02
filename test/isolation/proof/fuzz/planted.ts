/** Routes with a defect each: what the fuzzer has to find, or it finds nothing. */
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { Authenticate } from '../../../../src/access/authenticate.ts';
import { userIdOf } from '../../../../src/access/caller.ts';
import type { Config } from '../../../../src/config.ts';
import { idParams } from '../../../../src/contract/common.ts';
import { withOwner } from '../../../../src/database/owner.ts';
import { problem } from '../../../../src/errors.ts';
import { callerOf } from '../../../../src/http/authentication.ts';
import type { ContractApp } from '../../../../src/http/validation.ts';

/** Path → what the report must say of it. */
export const plantedDefects: Readonly<Record<string, RegExp>> = {
  'GET /planted/sql-error/{id}': /an error of Postgres/,
  'GET /planted/server-error/{id}': /status 500/,
  'POST /planted/owner-in-body': /a victim's rows changed/,
  'GET /planted/forbidden/{id}': /answered differently/,
  'GET /planted/everybody': /a victim's (text|id)/,
  'POST /planted/any-member': /knows no such member/,
  'GET /planted/hangs/{id}': /no answer within the deadline/,
  'GET /planted/unchecked-token': /instead of 401/,
  'GET /planted/logs-rows/{id}': /a log shows/,
  'POST /planted/keeps-everything': /memory grew/,
  'GET /planted/plain-text/{id}': /no problem document/,
  'GET /planted/echo-token': /repeats the credential/,
};

let hung = 0;
const kept: Buffer[] = [];
const keptBytes = 6 * 1024 * 1024;

export function plantDefects(app: FastifyInstance, config: Config, log: Logger): void {
  const routes: ContractApp = app;
  const ownerUrl = config.database.kind === 'external' ? (config.database.ownerUrl ?? '') : '';
  const ask = (sql: string, values: unknown[] = []) => withOwner(ownerUrl, (owner) => owner.query(sql, values));
  const read = { config: { access: 'read' } } as const;
  const anyId = { params: z.object({ id: z.string() }) };

  routes.get('/planted/sql-error/:id', { ...read, schema: anyId }, async (request) => {
    const { id } = request.params;
    return ask(`select 1 from tasks where id = '${id}'`).catch((error: Error) => {
      throw problem('validation_failed', error.message);
    });
  });
  routes.get('/planted/server-error/:id', { ...read, schema: anyId }, async (request) => {
    if (!/^[0-9a-f-]+$/.test(request.params.id)) throw new TypeError('a bad id');
    return {};
  });
  const owned = z.object({ name: z.string(), user_id: z.string().optional() }).loose();
  routes.post('/planted/owner-in-body', { config: { access: 'write' }, schema: { body: owned } }, async (request) => {
    const owner = typeof request.body.user_id === 'string' ? request.body.user_id : callerOf(request).userId;
    await ask('insert into labels (user_id, id, name) values ($1, gen_random_uuid(), gen_random_uuid()::text)', [
      owner,
    ]).catch(() => {});
    return {};
  });
  routes.get('/planted/forbidden/:id', { ...read, schema: { params: idParams } }, async (request) => {
    const { rows } = await ask('select user_id from tasks where id = $1', [request.params.id]);
    if (rows.length === 0) throw problem('not_found', 'There is no such task.');
    if (rows[0].user_id !== callerOf(request).userId) throw problem('insufficient_scope', 'It is not yours.');
    return {};
  });
  routes.get('/planted/everybody', read, async () => (await ask('select id, title from tasks')).rows);
  // The document says that the object is closed; the route takes everything.
  const closed = z.object({ name: z.string() }).strict();
  routes.post(
    '/planted/any-member',
    { config: { access: 'write' }, schema: { body: closed }, validatorCompiler: () => (value) => ({ value }) },
    async () => ({}),
  );
  routes.get('/planted/hangs/:id', { ...read, schema: anyId }, async (request) => {
    // Twice: each time costs the test a deadline.
    if (!/^[0-9a-f-]+$/i.test(request.params.id) && hung++ < 2) await new Promise(() => {});
    return {};
  });
  routes.get('/planted/unchecked-token', read, async () => ({}));
  routes.get('/planted/logs-rows/:id', { ...read, schema: { params: idParams } }, async (request) => {
    const { rows } = await ask('select title from tasks where id = $1', [request.params.id]);
    log.info({ rows }, 'looked up');
    throw problem('not_found', 'There is no such task.');
  });
  routes.post('/planted/keeps-everything', { config: { access: 'write' }, schema: { body: closed } }, async () => {
    kept.push(Buffer.alloc(keptBytes, 1));
    return {};
  });
  routes.get('/planted/plain-text/:id', { ...read, schema: anyId }, async (request, reply) => {
    return /^[0-9a-f-]+$/i.test(request.params.id) ? {} : reply.code(400).type('text/plain').send('bad id');
  });
  routes.get('/planted/echo-token', { config: { access: 'open' } }, async (request) => {
    throw problem('validation_failed', `${request.headers.authorization ?? 'nothing'} is not what we want`);
  });
}

/** Believes the claims of a token whoever signed it. */
export function withoutSignatures(authenticate: Authenticate): Authenticate {
  return async (authorization, requestId) => {
    try {
      return await authenticate(authorization, requestId);
    } catch (error) {
      const [, claims = ''] = (authorization?.[0] ?? '').split('.');
      const sub = /"sub":"([0-9a-f-]{36})"/.exec(Buffer.from(claims, 'base64url').toString('utf8'))?.[1];
      if (sub === undefined) throw error;
      return {
        userId: userIdOf(sub),
        actor: 'session',
        requestId,
        roles: ['user'],
        scopes: ['read', 'write'],
        credentialId: sub,
      };
    }
  };
}
