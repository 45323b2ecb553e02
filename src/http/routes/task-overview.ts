/** Over many tasks at once: bulk changes, the next task, figures. */
import { taskBulk, taskBulkResult } from '../../contract/task-bulk.ts';
import { nextTask, nextTaskQuery, taskStats, taskStatsQuery } from '../../contract/task-overview.ts';
import { TaskOverviewRepository } from '../../repositories/task-overview.ts';
import { changeTasks } from '../../work/task-bulk.ts';
import { nextTaskAnswer, taskFigures } from '../../work/task-overview.ts';
import type { AppDependencies } from '../app.ts';
import { callerOf } from '../authentication.ts';
import { answerOnce } from '../creation.ts';
import { notFoundWithin } from '../hidden-row.ts';
import { sendJson } from '../reply.ts';
import type { ContractApp } from '../validation.ts';

const tags = ['tasks'];

export async function taskOverviewRoutes(app: ContractApp, { isolation }: AppDependencies): Promise<void> {
  app.post(
    '/api/tasks/bulk',
    {
      config: { access: 'write', entity: 'tasks' },
      schema: {
        tags,
        summary: 'Create, change and remove up to 100 tasks; each by itself, or all or none',
        body: taskBulk,
        response: { 200: taskBulkResult },
      },
    },
    async (request, reply) => {
      const answer = await answerOnce(request, reply, isolation, 200, async (scope) => {
        const { json, notFound } = await changeTasks(scope, request.body);
        notFoundWithin(request, notFound);
        return json;
      });
      return sendJson(reply, answer);
    },
  );

  app.get(
    '/api/tasks/next',
    {
      config: { access: 'read' },
      schema: {
        tags,
        summary: 'What to do next: of a branch, a project, or everything',
        querystring: nextTaskQuery,
        response: { 200: nextTask },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const candidate = await isolation.readAsUser(caller, (scope) =>
        new TaskOverviewRepository(scope).next(request.query),
      );
      const blocked = candidate
        ? []
        : await isolation.readAsUser(caller, (scope) => new TaskOverviewRepository(scope).blocked(request.query));
      return sendJson(reply, nextTaskAnswer(candidate, blocked));
    },
  );

  app.get(
    '/api/tasks/stats',
    {
      config: { access: 'read' },
      schema: {
        tags,
        summary: 'Count tasks by status and priority',
        querystring: taskStatsQuery,
        response: { 200: taskStats },
      },
    },
    async (request, reply) => {
      const counts = await isolation.readAsUser(callerOf(request), (scope) =>
        new TaskOverviewRepository(scope).counts(request.query),
      );
      return sendJson(reply, JSON.stringify(taskFigures(counts)));
    },
  );
}
