import { expect, test } from 'vitest';
import { itemName, operationId, resourceName } from './names.ts';

test.each([
  ['GET', '/api/projects', { isList: true }, 'listProjects'],
  ['GET', '/api/projects/:id', {}, 'readProject'],
  ['POST', '/api/projects', { creates: true }, 'createProject'],
  ['PATCH', '/api/branches/:id', {}, 'changeBranch'],
  ['DELETE', '/api/tasks/:id/dependencies/:depends_on_task_id', {}, 'removeTaskDependency'],
  ['GET', '/api/projects/:id/branches', { isList: true }, 'listProjectBranches'],
  ['POST', '/api/branches/:id/assign-agent', {}, 'assignAgentBranch'],
  ['GET', '/admin/access-log', { isList: true }, 'listAdminAccessLog'],
  ['GET', '/openapi.json', {}, 'readOpenapiJson'],
] as const)('%s %s', (method, url, route, id) => {
  expect(operationId({ method, url, isList: false, creates: false, ...route })).toBe(id);
});

test('a list names what it holds, when its path does', () => {
  expect(itemName('/api/tasks/:id/dependencies')).toBe('Dependency');
  expect(itemName('/api/branches')).toBe('Branch');
  expect(itemName('/api/contexts/global')).toBeUndefined();
  expect(resourceName('/api/user/profile')).toBe('UserProfile');
});
