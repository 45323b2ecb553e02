/** What is done to a task beyond changing its fields: the verbs of its life, its labels, its assignees. */
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { idParams } from '../../contract/common.ts';
import { assigneesChange, labelsChange } from '../../contract/task-links.ts';
import { task, taskComplete, taskReopen } from '../../contract/tasks.ts';
import type { ProductUserScope } from '../../database/isolation.ts';
import type { JsonDocument } from '../../repositories/base-user-scoped-repository.ts';
import { archiveTask, reopenTask, restoreTask } from '../../work/task-changes.ts';
import { completeTask } from '../../work/task-completion.ts';
import { changeAssignees, changeLabels } from '../../work/task-links.ts';
import type { AppDependencies } from '../app.ts';
import { callerOf } from '../authentication.ts';
import { expectedVersion, sendDocument } from '../reply.ts';
import type { ContractApp } from '../validation.ts';

const tags = ['tasks'];
const config = { access: 'write', entity: 'tasks' } as const;
const response = { 200: task };
const completed = task.extend({ unblocked: z.array(z.uuid()).describe('Tasks that waited for it alone.') });

export async function taskActionRoutes(app: ContractApp, { isolation }: AppDependencies): Promise<void> {
  /** Does something to a task at the version that the request names. */
  function act(
    request: FastifyRequest,
    work: (scope: ProductUserScope, version: number | undefined) => Promise<JsonDocument>,
  ): Promise<JsonDocument> {
    const version = expectedVersion(request.headers['if-match']);
    return isolation.withUser(callerOf(request), (scope) => work(scope, version));
  }

  app.post(
    '/api/tasks/:id/complete',
    {
      config,
      schema: {
        tags,
        summary: 'Complete a task; again, to change its summary',
        params: idParams,
        body: taskComplete,
        response: { 200: completed },
      },
    },
    async (request, reply) =>
      sendDocument(
        reply,
        await act(request, async (scope, version) => {
          const done = await completeTask(scope, request.params.id, request.body, version);
          return { ...done.task, json: withMember(done.task.json, 'unblocked', done.unblocked) };
        }),
      ),
  );

  app.post(
    '/api/tasks/:id/reopen',
    { config, schema: { tags, summary: 'Reopen a task that is done', params: idParams, body: taskReopen, response } },
    async (request, reply) =>
      sendDocument(
        reply,
        await act(request, (scope, version) => reopenTask(scope, request.params.id, request.body.reason, version)),
      ),
  );

  app.post(
    '/api/tasks/:id/archive',
    { config, schema: { tags, summary: 'Archive a task that is done or cancelled', params: idParams, response } },
    async (request, reply) =>
      sendDocument(reply, await act(request, (scope, version) => archiveTask(scope, request.params.id, version))),
  );

  app.post(
    '/api/tasks/:id/restore',
    { config, schema: { tags, summary: 'Take a task out of the archive', params: idParams, response } },
    async (request, reply) =>
      sendDocument(reply, await act(request, (scope, version) => restoreTask(scope, request.params.id, version))),
  );

  app.patch(
    '/api/tasks/:id/labels',
    { config, schema: { tags, summary: 'Add and remove labels', params: idParams, body: labelsChange, response } },
    async (request, reply) =>
      sendDocument(
        reply,
        await act(request, (scope, version) => changeLabels(scope, request.params.id, request.body, version)),
      ),
  );

  app.patch(
    '/api/tasks/:id/assignees',
    {
      config,
      schema: { tags, summary: 'Add and remove assignees', params: idParams, body: assigneesChange, response },
    },
    async (request, reply) =>
      sendDocument(
        reply,
        await act(request, (scope, version) => changeAssignees(scope, request.params.id, request.body, version)),
      ),
  );
}

/** Adds a member to a JSON object that is text already. */
function withMember(json: string, name: string, value: unknown): string {
  return `${json.slice(0, -1)},${JSON.stringify(name)}:${JSON.stringify(value)}}`;
}
