import { agent, agentCreate, agentPage, agentPatch, agentQuery } from '../../contract/agents.ts';
import { idParams } from '../../contract/common.ts';
import { AgentRepository } from '../../repositories/agents.ts';
import { found } from '../../repositories/base-user-scoped-repository.ts';
import { change } from '../../work/change.ts';
import type { AppDependencies } from '../app.ts';
import { callerOf } from '../authentication.ts';
import { createResource } from '../creation.ts';
import { expectedVersion, sendDocument, sendPage } from '../reply.ts';
import type { ContractApp } from '../validation.ts';

const tags = ['agents'];
const read = { access: 'read', entity: 'agents' } as const;
const write = { access: 'write', entity: 'agents' } as const;

export async function agentRoutes(app: ContractApp, { isolation }: AppDependencies): Promise<void> {
  app.get(
    '/api/agents',
    {
      config: { access: 'read' },
      schema: { tags, summary: 'List agents, newest first', querystring: agentQuery, response: { 200: agentPage } },
    },
    async (request, reply) => {
      const page = await isolation.readAsUser(callerOf(request), (scope) =>
        new AgentRepository(scope).list(request.query, request.query),
      );
      return sendPage(reply, page);
    },
  );

  app.post(
    '/api/agents',
    {
      config: { access: 'write' },
      schema: { tags, summary: 'Register an agent', body: agentCreate, response: { 201: agent } },
    },
    async (request, reply) =>
      createResource(request, reply, isolation, async (scope) => {
        const agents = new AgentRepository(scope);
        return found(await agents.get(await agents.create(request.body)), 'agent');
      }),
  );

  app.get(
    '/api/agents/:id',
    { config: read, schema: { tags, summary: 'Read an agent', params: idParams, response: { 200: agent } } },
    async (request, reply) => {
      const document = await isolation.readAsUser(callerOf(request), (scope) =>
        new AgentRepository(scope).get(request.params.id),
      );
      return sendDocument(reply, found(document, 'agent'));
    },
  );

  app.patch(
    '/api/agents/:id',
    {
      config: write,
      schema: { tags, summary: 'Change an agent', params: idParams, body: agentPatch, response: { 200: agent } },
    },
    async (request, reply) => {
      const version = expectedVersion(request.headers['if-match']);
      const document = await isolation.withUser(callerOf(request), (scope) =>
        change(new AgentRepository(scope), 'agent', request.params.id, request.body, version),
      );
      return sendDocument(reply, document);
    },
  );

  app.delete(
    '/api/agents/:id',
    {
      config: write,
      schema: { tags, summary: 'Unregister an agent; its branches and tasks stay, without it', params: idParams },
    },
    async (request, reply) => {
      const removed = await isolation.withUser(callerOf(request), (scope) =>
        new AgentRepository(scope).remove(request.params.id),
      );
      found(removed || undefined, 'agent');
      return reply.code(204).send();
    },
  );
}
