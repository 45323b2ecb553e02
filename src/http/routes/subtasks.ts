import { idParams, pageQuery } from '../../contract/common.ts';
import {
  subtask,
  subtaskComplete,
  subtaskCreate,
  subtaskPage,
  subtaskPatch,
  subtaskRemoved,
} from '../../contract/subtasks.ts';
import { found } from '../../repositories/base-user-scoped-repository.ts';
import { SubtaskRepository } from '../../repositories/subtasks.ts';
import { TaskRepository } from '../../repositories/tasks.ts';
import { changeSubtask, completeSubtask, createSubtask, removeSubtask } from '../../work/subtasks.ts';
import type { AppDependencies } from '../app.ts';
import { callerOf } from '../authentication.ts';
import { createResource } from '../creation.ts';
import { expectedVersion, sendDocument, sendJson, sendPage } from '../reply.ts';
import type { ContractApp } from '../validation.ts';

const tags = ['subtasks'];
const response = { 200: subtask };

export async function subtaskRoutes(app: ContractApp, { isolation }: AppDependencies): Promise<void> {
  app.get(
    '/api/tasks/:id/subtasks',
    {
      config: { access: 'read', entity: 'tasks' },
      schema: {
        tags,
        summary: 'List the subtasks of a task, oldest first',
        params: idParams,
        querystring: pageQuery,
        response: { 200: subtaskPage },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const [exists, page] = await isolation.readAsUser(callerOf(request), (scope) =>
        Promise.all([new TaskRepository(scope).exists(id), new SubtaskRepository(scope).list(id, request.query)]),
      );
      found(exists || undefined, 'task');
      return sendPage(reply, page);
    },
  );

  app.post(
    '/api/tasks/:id/subtasks',
    {
      config: { access: 'write', entity: 'tasks' },
      schema: {
        tags,
        summary: 'Create a subtask',
        params: idParams,
        body: subtaskCreate,
        response: { 201: subtask },
      },
    },
    async (request, reply) =>
      createResource(request, reply, isolation, (scope) => createSubtask(scope, request.params.id, request.body)),
  );

  app.get(
    '/api/subtasks/:id',
    {
      config: { access: 'read', entity: 'task_subtasks' },
      schema: { tags, summary: 'Read a subtask', params: idParams, response },
    },
    async (request, reply) => {
      const document = await isolation.readAsUser(callerOf(request), (scope) =>
        new SubtaskRepository(scope).get(request.params.id),
      );
      return sendDocument(reply, found(document, 'subtask'));
    },
  );

  app.patch(
    '/api/subtasks/:id',
    {
      config: { access: 'write', entity: 'task_subtasks' },
      schema: { tags, summary: 'Change a subtask', params: idParams, body: subtaskPatch, response },
    },
    async (request, reply) => {
      const version = expectedVersion(request.headers['if-match']);
      const document = await isolation.withUser(callerOf(request), (scope) =>
        changeSubtask(scope, request.params.id, request.body, version),
      );
      return sendDocument(reply, document);
    },
  );

  app.post(
    '/api/subtasks/:id/complete',
    {
      config: { access: 'write', entity: 'task_subtasks' },
      schema: {
        tags,
        summary: 'Complete a subtask; again, to change its summary',
        params: idParams,
        body: subtaskComplete,
        response,
      },
    },
    async (request, reply) => {
      const version = expectedVersion(request.headers['if-match']);
      const document = await isolation.withUser(callerOf(request), (scope) =>
        completeSubtask(scope, request.params.id, request.body, version),
      );
      return sendDocument(reply, document);
    },
  );

  app.delete(
    '/api/subtasks/:id',
    {
      config: { access: 'write', entity: 'task_subtasks' },
      schema: {
        tags,
        summary: 'Remove a subtask; answers how far its task is without it',
        params: idParams,
        response: { 200: subtaskRemoved },
      },
    },
    async (request, reply) => {
      const version = expectedVersion(request.headers['if-match']);
      const parent_progress = await isolation.withUser(callerOf(request), (scope) =>
        removeSubtask(scope, request.params.id, version),
      );
      return sendJson(reply, JSON.stringify({ parent_progress }));
    },
  );
}
