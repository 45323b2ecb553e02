import { idParams } from '../../contract/common.ts';
import { task, taskCreate, taskPage, taskPatch, taskQuery, taskRemoved } from '../../contract/tasks.ts';
import { found } from '../../repositories/base-user-scoped-repository.ts';
import { TaskRepository } from '../../repositories/tasks.ts';
import { changeTask, removeTask } from '../../work/task-changes.ts';
import { createTask } from '../../work/task-creation.ts';
import type { AppDependencies } from '../app.ts';
import { callerOf } from '../authentication.ts';
import { createResource } from '../creation.ts';
import { expectedVersion, sendDocument, sendJson, sendPage } from '../reply.ts';
import type { ContractApp } from '../validation.ts';

const tags = ['tasks'];

export async function taskRoutes(app: ContractApp, { isolation }: AppDependencies): Promise<void> {
  app.get(
    '/api/tasks',
    {
      config: { access: 'read' },
      schema: { tags, summary: 'List, filter and search tasks', querystring: taskQuery, response: { 200: taskPage } },
    },
    async (request, reply) => {
      const page = await isolation.readAsUser(callerOf(request), (scope) =>
        new TaskRepository(scope).list(request.query),
      );
      return sendPage(reply, page);
    },
  );

  app.post(
    '/api/tasks',
    {
      config: { access: 'write' },
      schema: {
        tags,
        summary: 'Create a task, in your inbox unless it names a branch',
        body: taskCreate,
        response: { 201: task },
      },
    },
    async (request, reply) => createResource(request, reply, isolation, (scope) => createTask(scope, request.body)),
  );

  app.get(
    '/api/tasks/:id',
    {
      config: { access: 'read', entity: 'tasks' },
      schema: { tags, summary: 'Read a task', params: idParams, response: { 200: task } },
    },
    async (request, reply) => {
      const document = await isolation.readAsUser(callerOf(request), (scope) =>
        new TaskRepository(scope).get(request.params.id),
      );
      return sendDocument(reply, found(document, 'task'));
    },
  );

  app.patch(
    '/api/tasks/:id',
    {
      config: { access: 'write', entity: 'tasks' },
      schema: { tags, summary: 'Change a task', params: idParams, body: taskPatch, response: { 200: task } },
    },
    async (request, reply) => {
      const version = expectedVersion(request.headers['if-match']);
      const document = await isolation.withUser(callerOf(request), (scope) =>
        changeTask(scope, request.params.id, request.body, version),
      );
      return sendDocument(reply, document);
    },
  );

  app.delete(
    '/api/tasks/:id',
    {
      config: { access: 'write', entity: 'tasks' },
      schema: {
        tags,
        summary: 'Remove a task with all that hangs on it; answers which tasks that unblocks',
        params: idParams,
        response: { 200: taskRemoved },
      },
    },
    async (request, reply) => {
      const version = expectedVersion(request.headers['if-match']);
      const unblocked = await isolation.withUser(callerOf(request), (scope) =>
        removeTask(scope, request.params.id, version),
      );
      return sendJson(reply, JSON.stringify({ unblocked }));
    },
  );
}
