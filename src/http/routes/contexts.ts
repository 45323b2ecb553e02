import { pageQuery } from '../../contract/common.ts';
import {
  type ContextLevel,
  context,
  contextLevels,
  contextPage,
  contextParams,
  contextPatch,
  contextPut,
} from '../../contract/contexts.ts';
import { found } from '../../repositories/base-user-scoped-repository.ts';
import { ContextRepository } from '../../repositories/contexts.ts';
import { patchContext, putContext, type WrittenContext } from '../../work/contexts.ts';
import type { AppDependencies } from '../app.ts';
import { callerOf } from '../authentication.ts';
import { expectedVersion, sendDocument, sendPage } from '../reply.ts';
import type { ContractApp } from '../validation.ts';

const tags = ['contexts'];
/** A context has the id of what it describes; who asks for one asks for that. */
const describes = {
  global: { entity: 'global_contexts', what: 'the global context' },
  project: { entity: 'projects', what: 'the context of a project' },
  branch: { entity: 'project_git_branchs', what: 'the context of a branch' },
  task: { entity: 'tasks', what: 'the context of a task' },
} as const satisfies Record<ContextLevel, unknown>;

/** One set of routes a tier, since each tier has fields of its own. */
export async function contextRoutes(app: ContractApp, dependencies: AppDependencies): Promise<void> {
  for (const level of contextLevels) tierRoutes(app, dependencies, level);
}

function tierRoutes(app: ContractApp, { isolation }: AppDependencies, level: ContextLevel): void {
  const { entity, what } = describes[level];
  const params = contextParams(level);
  const one = context(level);
  const path = `/api/contexts/${level}/:id`;

  app.get(
    `/api/contexts/${level}`,
    {
      config: { access: 'read' },
      schema: {
        tags,
        summary: `List the contexts of the ${level} tier, newest first`,
        querystring: pageQuery,
        response: { 200: contextPage(level) },
      },
    },
    async (request, reply) => {
      const page = await isolation.readAsUser(callerOf(request), (scope) =>
        new ContextRepository(scope, level).list(request.query),
      );
      return sendPage(reply, page);
    },
  );

  app.get(
    path,
    { config: { access: 'read', entity }, schema: { tags, summary: `Read ${what}`, params, response: { 200: one } } },
    async (request, reply) => {
      const caller = callerOf(request);
      const id = ownOr(request.params.id, caller.userId);
      const document = await isolation.readAsUser(caller, (scope) => new ContextRepository(scope, level).get(id));
      return sendDocument(reply, found(document, 'context'));
    },
  );

  for (const { method, summary, body, write } of [
    { method: 'PUT', summary: `Replace ${what}, or make it`, body: contextPut(level), write: putContext },
    { method: 'PATCH', summary: `Merge into ${what}, or make it`, body: contextPatch(level), write: patchContext },
  ]) {
    app.route({
      method,
      url: path,
      config: { access: 'write', entity },
      schema: { tags, summary, params, body, response: { 200: one, 201: one } },
      handler: async (request, reply) => {
        const caller = callerOf(request);
        const id = ownOr(request.params.id, caller.userId);
        const version = expectedVersion(request.headers['if-match']);
        const { document, created }: WrittenContext = await isolation.withUser(caller, (scope) =>
          write(scope, level, id, request.body, version),
        );
        return sendDocument(reply.code(created ? 201 : 200), document);
      },
    });
  }

  app.delete(
    path,
    { config: { access: 'write', entity }, schema: { tags, summary: `Remove ${what}`, params } },
    async (request, reply) => {
      const caller = callerOf(request);
      const id = ownOr(request.params.id, caller.userId);
      const removed = await isolation.withUser(caller, (scope) => new ContextRepository(scope, level).remove(id));
      found(removed || undefined, 'context');
      return reply.code(204).send();
    },
  );
}

function ownOr(id: string, userId: string): string {
  return id === 'me' ? userId : id;
}
