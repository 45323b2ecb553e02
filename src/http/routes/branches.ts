import {
  agentAssignment,
  branch,
  branchCreate,
  branchPage,
  branchPatch,
  branchQuery,
  projectBranchQuery,
} from '../../contract/branches.ts';
import { idParams } from '../../contract/common.ts';
import { found } from '../../repositories/base-user-scoped-repository.ts';
import { BranchRepository } from '../../repositories/branches.ts';
import { ProjectRepository } from '../../repositories/projects.ts';
import { assignAgent, restoreBranch } from '../../work/branches.ts';
import { change } from '../../work/change.ts';
import type { AppDependencies } from '../app.ts';
import { callerOf } from '../authentication.ts';
import { createResource } from '../creation.ts';
import { expectedVersion, sendDocument, sendPage } from '../reply.ts';
import type { ContractApp } from '../validation.ts';

const tags = ['branches'];
const read = { access: 'read', entity: 'project_git_branchs' } as const;
const write = { access: 'write', entity: 'project_git_branchs' } as const;

export async function branchRoutes(app: ContractApp, { isolation }: AppDependencies): Promise<void> {
  app.get(
    '/api/branches',
    {
      config: { access: 'read' },
      schema: { tags, summary: 'List branches, newest first', querystring: branchQuery, response: { 200: branchPage } },
    },
    async (request, reply) => {
      const page = await isolation.readAsUser(callerOf(request), (scope) =>
        new BranchRepository(scope).list(request.query, request.query),
      );
      return sendPage(reply, page);
    },
  );

  app.get(
    '/api/projects/:id/branches',
    {
      config: { access: 'read', entity: 'projects' },
      schema: {
        tags,
        summary: 'List the branches of a project, newest first',
        params: idParams,
        querystring: projectBranchQuery,
        response: { 200: branchPage },
      },
    },
    async (request, reply) => {
      const project_id = request.params.id;
      const [project, page] = await isolation.readAsUser(callerOf(request), (scope) =>
        Promise.all([
          new ProjectRepository(scope).exists(project_id),
          new BranchRepository(scope).list({ ...request.query, project_id }, request.query),
        ]),
      );
      found(project || undefined, 'project');
      return sendPage(reply, page);
    },
  );

  app.post(
    '/api/branches',
    {
      config: { access: 'write' },
      schema: { tags, summary: 'Create a branch of a project', body: branchCreate, response: { 201: branch } },
    },
    async (request, reply) =>
      createResource(request, reply, isolation, async (scope) => {
        const branches = new BranchRepository(scope);
        return found(await branches.get(await branches.create(request.body)), 'branch');
      }),
  );

  app.get(
    '/api/branches/:id',
    { config: read, schema: { tags, summary: 'Read a branch', params: idParams, response: { 200: branch } } },
    async (request, reply) => {
      const document = await isolation.readAsUser(callerOf(request), (scope) =>
        new BranchRepository(scope).get(request.params.id),
      );
      return sendDocument(reply, found(document, 'branch'));
    },
  );

  app.patch(
    '/api/branches/:id',
    {
      config: write,
      schema: { tags, summary: 'Change a branch', params: idParams, body: branchPatch, response: { 200: branch } },
    },
    async (request, reply) => {
      const version = expectedVersion(request.headers['if-match']);
      const document = await isolation.withUser(callerOf(request), (scope) =>
        change(new BranchRepository(scope), 'branch', request.params.id, request.body, version),
      );
      return sendDocument(reply, document);
    },
  );

  app.delete(
    '/api/branches/:id',
    { config: write, schema: { tags, summary: 'Remove a branch with its tasks and contexts', params: idParams } },
    async (request, reply) => {
      const removed = await isolation.withUser(callerOf(request), (scope) =>
        new BranchRepository(scope).remove(request.params.id),
      );
      found(removed || undefined, 'branch');
      return reply.code(204).send();
    },
  );

  app.post(
    '/api/branches/:id/assign-agent',
    {
      config: write,
      schema: {
        tags,
        summary: 'Put an agent on a branch, in place of the one before',
        params: idParams,
        body: agentAssignment,
        response: { 200: branch },
      },
    },
    async (request, reply) => {
      const version = expectedVersion(request.headers['if-match']);
      const document = await isolation.withUser(callerOf(request), (scope) =>
        assignAgent(scope, request.params.id, request.body, version),
      );
      return sendDocument(reply, document);
    },
  );

  app.post(
    '/api/branches/:id/unassign-agent',
    {
      config: write,
      schema: { tags, summary: 'Take the agent off a branch', params: idParams, response: { 200: branch } },
    },
    async (request, reply) => {
      const version = expectedVersion(request.headers['if-match']);
      const document = await isolation.withUser(callerOf(request), (scope) =>
        change(new BranchRepository(scope), 'branch', request.params.id, { assigned_agent_id: null }, version),
      );
      return sendDocument(reply, document);
    },
  );

  app.post(
    '/api/branches/:id/archive',
    { config: write, schema: { tags, summary: 'Archive a branch', params: idParams, response: { 200: branch } } },
    async (request, reply) => {
      const version = expectedVersion(request.headers['if-match']);
      const document = await isolation.withUser(callerOf(request), (scope) =>
        change(new BranchRepository(scope), 'branch', request.params.id, { status: 'archived' }, version),
      );
      return sendDocument(reply, document);
    },
  );

  app.post(
    '/api/branches/:id/restore',
    {
      config: write,
      schema: {
        tags,
        summary: 'Take a branch out of the archive, with the status that its tasks speak for',
        params: idParams,
        response: { 200: branch },
      },
    },
    async (request, reply) => {
      const version = expectedVersion(request.headers['if-match']);
      const document = await isolation.withUser(callerOf(request), (scope) =>
        restoreBranch(scope, request.params.id, version),
      );
      return sendDocument(reply, document);
    },
  );
}
