import { idParams, pageQuery } from '../../contract/common.ts';
import { project, projectCreate, projectPage, projectPatch } from '../../contract/projects.ts';
import { found } from '../../repositories/base-user-scoped-repository.ts';
import { ProjectRepository } from '../../repositories/projects.ts';
import { change } from '../../work/change.ts';
import { createProject } from '../../work/projects.ts';
import type { AppDependencies } from '../app.ts';
import { callerOf } from '../authentication.ts';
import { createResource } from '../creation.ts';
import { expectedVersion, sendDocument, sendPage } from '../reply.ts';
import type { ContractApp } from '../validation.ts';

const tags = ['projects'];
const read = { access: 'read', entity: 'projects' } as const;
const write = { access: 'write', entity: 'projects' } as const;

export async function projectRoutes(app: ContractApp, { isolation }: AppDependencies): Promise<void> {
  app.get(
    '/api/projects',
    {
      config: { access: 'read' },
      schema: { tags, summary: 'List projects, newest first', querystring: pageQuery, response: { 200: projectPage } },
    },
    async (request, reply) => {
      const page = await isolation.readAsUser(callerOf(request), (scope) =>
        new ProjectRepository(scope).list(request.query),
      );
      return sendPage(reply, page);
    },
  );

  app.post(
    '/api/projects',
    {
      config: { access: 'write' },
      schema: {
        tags,
        summary: 'Create a project with its branch main',
        body: projectCreate,
        response: { 201: project },
      },
    },
    async (request, reply) => createResource(request, reply, isolation, (scope) => createProject(scope, request.body)),
  );

  app.get(
    '/api/projects/:id',
    {
      config: read,
      schema: { tags, summary: 'Read a project', params: idParams, response: { 200: project } },
    },
    async (request, reply) => {
      const document = await isolation.readAsUser(callerOf(request), (scope) =>
        new ProjectRepository(scope).get(request.params.id),
      );
      return sendDocument(reply, found(document, 'project'));
    },
  );

  app.patch(
    '/api/projects/:id',
    {
      config: write,
      schema: { tags, summary: 'Change a project', params: idParams, body: projectPatch, response: { 200: project } },
    },
    async (request, reply) => {
      const version = expectedVersion(request.headers['if-match']);
      const document = await isolation.withUser(callerOf(request), (scope) =>
        change(new ProjectRepository(scope), 'project', request.params.id, request.body, version),
      );
      return sendDocument(reply, document);
    },
  );

  app.delete(
    '/api/projects/:id',
    {
      config: write,
      schema: { tags, summary: 'Remove a project with its branches, tasks and contexts', params: idParams },
    },
    async (request, reply) => {
      const removed = await isolation.withUser(callerOf(request), (scope) =>
        new ProjectRepository(scope).remove(request.params.id),
      );
      found(removed || undefined, 'project');
      return reply.code(204).send();
    },
  );
}
