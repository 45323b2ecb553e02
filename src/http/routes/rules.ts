import { idParams } from '../../contract/common.ts';
import { rule, ruleCreate, rulePage, rulePatch, ruleQuery } from '../../contract/rules.ts';
import { found } from '../../repositories/base-user-scoped-repository.ts';
import { RuleRepository } from '../../repositories/rules.ts';
import { changeRule } from '../../work/rules.ts';
import type { AppDependencies } from '../app.ts';
import { callerOf } from '../authentication.ts';
import { createResource } from '../creation.ts';
import { expectedVersion, sendDocument, sendPage } from '../reply.ts';
import type { ContractApp } from '../validation.ts';

const tags = ['rules'];
const read = { access: 'read', entity: 'rules' } as const;
const write = { access: 'write', entity: 'rules' } as const;

export async function ruleRoutes(app: ContractApp, { isolation }: AppDependencies): Promise<void> {
  app.get(
    '/api/rules',
    {
      config: { access: 'read' },
      schema: { tags, summary: 'List rules, newest first', querystring: ruleQuery, response: { 200: rulePage } },
    },
    async (request, reply) => {
      const page = await isolation.readAsUser(callerOf(request), (scope) =>
        new RuleRepository(scope).list(request.query, request.query),
      );
      return sendPage(reply, page);
    },
  );

  app.post(
    '/api/rules',
    {
      config: { access: 'write' },
      schema: { tags, summary: 'Create a rule', body: ruleCreate, response: { 201: rule } },
    },
    async (request, reply) =>
      createResource(request, reply, isolation, async (scope) => {
        const rules = new RuleRepository(scope);
        return found(await rules.get(await rules.create(request.body)), 'rule');
      }),
  );

  app.get(
    '/api/rules/:id',
    { config: read, schema: { tags, summary: 'Read a rule', params: idParams, response: { 200: rule } } },
    async (request, reply) => {
      const document = await isolation.readAsUser(callerOf(request), (scope) =>
        new RuleRepository(scope).get(request.params.id),
      );
      return sendDocument(reply, found(document, 'rule'));
    },
  );

  app.patch(
    '/api/rules/:id',
    {
      config: write,
      schema: { tags, summary: 'Change a rule', params: idParams, body: rulePatch, response: { 200: rule } },
    },
    async (request, reply) => {
      const version = expectedVersion(request.headers['if-match']);
      const document = await isolation.withUser(callerOf(request), (scope) =>
        changeRule(scope, request.params.id, request.body, version),
      );
      return sendDocument(reply, document);
    },
  );

  app.delete(
    '/api/rules/:id',
    {
      config: write,
      schema: { tags, summary: 'Remove a rule; those that refine it stay, without a parent', params: idParams },
    },
    async (request, reply) => {
      const removed = await isolation.withUser(callerOf(request), (scope) =>
        new RuleRepository(scope).remove(request.params.id),
      );
      found(removed || undefined, 'rule');
      return reply.code(204).send();
    },
  );
}
