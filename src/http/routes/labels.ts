import { idParams, pageQuery } from '../../contract/common.ts';
import { label, labelCreate, labelPage, labelPatch } from '../../contract/labels.ts';
import { found } from '../../repositories/base-user-scoped-repository.ts';
import { LabelRepository } from '../../repositories/labels.ts';
import { change } from '../../work/change.ts';
import type { AppDependencies } from '../app.ts';
import { callerOf } from '../authentication.ts';
import { createResource } from '../creation.ts';
import { expectedVersion, sendDocument, sendPage } from '../reply.ts';
import type { ContractApp } from '../validation.ts';

const tags = ['labels'];

export async function labelRoutes(app: ContractApp, { isolation }: AppDependencies): Promise<void> {
  app.get(
    '/api/labels',
    {
      config: { access: 'read' },
      schema: { tags, summary: 'List labels by name', querystring: pageQuery, response: { 200: labelPage } },
    },
    async (request, reply) => {
      const page = await isolation.readAsUser(callerOf(request), (scope) =>
        new LabelRepository(scope).list(request.query),
      );
      return sendPage(reply, page);
    },
  );

  app.post(
    '/api/labels',
    {
      config: { access: 'write' },
      schema: { tags, summary: 'Create a label', body: labelCreate, response: { 201: label } },
    },
    async (request, reply) =>
      createResource(request, reply, isolation, async (scope) => {
        const labels = new LabelRepository(scope);
        return found(await labels.get(await labels.create(request.body)), 'label');
      }),
  );

  app.get(
    '/api/labels/:id',
    {
      config: { access: 'read', entity: 'labels' },
      schema: { tags, summary: 'Read a label', params: idParams, response: { 200: label } },
    },
    async (request, reply) => {
      const document = await isolation.readAsUser(callerOf(request), (scope) =>
        new LabelRepository(scope).get(request.params.id),
      );
      return sendDocument(reply, found(document, 'label'));
    },
  );

  app.patch(
    '/api/labels/:id',
    {
      config: { access: 'write', entity: 'labels' },
      schema: { tags, summary: 'Change a label', params: idParams, body: labelPatch, response: { 200: label } },
    },
    async (request, reply) => {
      const version = expectedVersion(request.headers['if-match']);
      const document = await isolation.withUser(callerOf(request), (scope) =>
        change(new LabelRepository(scope), 'label', request.params.id, request.body, version),
      );
      return sendDocument(reply, document);
    },
  );

  app.delete(
    '/api/labels/:id',
    {
      config: { access: 'write', entity: 'labels' },
      schema: { tags, summary: 'Remove a label, also from its tasks', params: idParams },
    },
    async (request, reply) => {
      const removed = await isolation.withUser(callerOf(request), (scope) =>
        new LabelRepository(scope).remove(request.params.id),
      );
      found(removed || undefined, 'label');
      return reply.code(204).send();
    },
  );
}
