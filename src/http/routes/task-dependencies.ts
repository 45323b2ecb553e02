import { idParams } from '../../contract/common.ts';
import { dependencyCreate, dependencyPage, dependencyParams, dependencyQuery } from '../../contract/task-links.ts';
import { task } from '../../contract/tasks.ts';
import { found } from '../../repositories/base-user-scoped-repository.ts';
import { TaskDependencyRepository } from '../../repositories/task-dependencies.ts';
import { TaskRepository } from '../../repositories/tasks.ts';
import { addDependency, removeDependency } from '../../work/task-dependencies.ts';
import type { AppDependencies } from '../app.ts';
import { callerOf } from '../authentication.ts';
import { createResource } from '../creation.ts';
import { expectedVersion, sendDocument, sendPage } from '../reply.ts';
import type { ContractApp } from '../validation.ts';

const tags = ['task dependencies'];

export async function taskDependencyRoutes(app: ContractApp, { isolation }: AppDependencies): Promise<void> {
  app.get(
    '/api/tasks/:id/dependencies',
    {
      config: { access: 'read', entity: 'tasks' },
      schema: {
        tags,
        summary: 'List what a task waits for, or what waits for it',
        params: idParams,
        querystring: dependencyQuery,
        response: { 200: dependencyPage },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const [exists, page] = await isolation.readAsUser(callerOf(request), (scope) =>
        Promise.all([
          new TaskRepository(scope).exists(id),
          new TaskDependencyRepository(scope).list(id, request.query.direction, request.query),
        ]),
      );
      found(exists || undefined, 'task');
      return sendPage(reply, page);
    },
  );

  app.post(
    '/api/tasks/:id/dependencies',
    {
      config: { access: 'write', entity: 'tasks' },
      schema: {
        tags,
        summary: 'Make a task wait for another; answers with the task',
        params: idParams,
        body: dependencyCreate,
        response: { 201: task },
      },
    },
    async (request, reply) => {
      const version = expectedVersion(request.headers['if-match']);
      return createResource(request, reply, isolation, (scope) =>
        addDependency(scope, request.params.id, request.body.depends_on_task_id, version),
      );
    },
  );

  app.delete(
    '/api/tasks/:id/dependencies/:depends_on_task_id',
    {
      config: { access: 'write', entity: 'tasks' },
      schema: {
        tags,
        summary: 'Let a task no longer wait for another; answers with the task',
        params: dependencyParams,
        response: { 200: task },
      },
    },
    async (request, reply) => {
      const version = expectedVersion(request.headers['if-match']);
      const { id, depends_on_task_id } = request.params;
      const document = await isolation.withUser(callerOf(request), (scope) =>
        removeDependency(scope, id, depends_on_task_id, version),
      );
      return sendDocument(reply, document);
    },
  );
}
