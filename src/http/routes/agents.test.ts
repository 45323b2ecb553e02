import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestServer, type TestServer, type TestUser } from '../../../test/support/server.ts';

const nobody = '01900000-0000-7000-8000-000000000000';

describe.each([
  ['isolated', 'on'],
  ['isolated', 'off'],
  ['before_isolation', 'ownerless'],
] as const)('on a schema %s with isolation %s', (template, enforcement) => {
  let server: TestServer;
  let ann: TestUser;

  beforeAll(async () => {
    server = await startTestServer({ template, enforcement });
    ann = await server.user();
  });
  afterAll(() => server?.close());

  test('an agent is registered, read, changed and removed', async () => {
    const made = await ann.call('POST', '/api/agents', {
      name: 'coding',
      role: 'coder',
      capabilities: ['typescript', 'a "quoted", {odd} one'],
      metadata: { model: 'x' },
    });
    expect(made).toMatchObject({
      status: 201,
      body: {
        name: 'coding',
        description: '',
        role: 'coder',
        capabilities: ['typescript', 'a "quoted", {odd} one'],
        status: 'available',
        availability_score: 1,
        last_active_at: null,
        metadata: { model: 'x' },
        version: 1,
      },
    });
    const path = `/api/agents/${made.body.id}`;
    const change = {
      status: 'busy',
      availability_score: 0.25,
      last_active_at: '2026-11-23T12:00:00Z',
      capabilities: [],
    };
    const changed = await ann.call('PATCH', path, change, { 'if-match': '"1"' });
    expect(changed).toMatchObject({ status: 200, body: { status: 'busy', availability_score: 0.25, version: 2 } });
    expect(new Date(changed.body.last_active_at).toISOString()).toBe('2026-11-23T12:00:00.000Z');
    expect(changed.body.capabilities).toEqual([]);
    expect(await ann.call('PATCH', path, { role: 'y' }, { 'if-match': '"1"' })).toMatchObject({ status: 412 });
    expect((await ann.call('GET', path)).text).toBe(changed.text);
    expect((await ann.call('DELETE', path)).status).toBe(204);
    expect((await ann.call('GET', path)).status).toBe(404);
  });

  test('lists filter by status, role and text', async () => {
    for (const [name, role, status, description] of [
      ['Reviewer', 'reviewer', 'available', ''],
      ['Debugger', 'coder', 'offline', 'finds 100% of bugs'],
      ['Tester', 'tester', 'available', 'finds snake_case'],
    ]) {
      expect((await ann.call('POST', '/api/agents', { name, role, status, description })).status).toBe(201);
    }
    const names = async (query: string): Promise<string[]> => {
      const { body } = await ann.call('GET', `/api/agents?${query}`);
      return body.items.map((item: { name: string }) => item.name);
    };
    expect(await names('status=available')).toEqual(['Tester', 'Reviewer']);
    expect(await names('role=coder')).toEqual(['Debugger']);
    expect(await names('q=FINDS')).toEqual(['Tester', 'Debugger']);
    expect(await names('q=100%25')).toEqual(['Debugger']);
    expect(await names('q=e_c')).toEqual(['Tester']);
    expect(await names('q=%5C')).toEqual([]);
    expect(await names('q=er&status=available&limit=1')).toEqual(['Tester']);
  });

  test('a branch loses the agent that is removed, and nothing else', async () => {
    const { body: project } = await ann.call('POST', '/api/projects', { name: 'P' });
    const { body: made } = await ann.call('POST', '/api/branches', { project_id: project.id, name: 'b' });
    const { body: branch } = await ann.call('POST', `/api/branches/${made.id}/assign-agent`, { agent_name: 'goner' });
    expect((await ann.call('DELETE', `/api/agents/${branch.assigned_agent_id}`)).status).toBe(204);
    expect((await ann.call('GET', `/api/branches/${made.id}`)).body).toMatchObject({ assigned_agent_id: null });
  });
});

describe('with isolation on', () => {
  let server: TestServer;
  let ann: TestUser;
  let bob: TestUser;
  let agent: { id: string };

  beforeAll(async () => {
    server = await startTestServer();
    [ann, bob] = await Promise.all([server.user(), server.user()]);
    agent = (await ann.call('POST', '/api/agents', { name: 'secret' })).body;
  });
  afterAll(() => server?.close());

  test('another user’s agent answers like one that does not exist', async () => {
    const sameRequest = { 'x-request-id': 'same-request' };
    for (const [method, body] of [['GET'], ['PATCH', { name: 'mine' }], ['DELETE']] as const) {
      const hidden = await bob.call(method, `/api/agents/${agent.id}`, body, sameRequest);
      const missing = await bob.call(method, `/api/agents/${nobody}`, body, sameRequest);
      expect(hidden.status).toBe(404);
      expect(hidden.body).toEqual(missing.body);
    }
    expect((await bob.call('GET', '/api/agents')).body.items).toEqual([]);
    expect((await bob.call('GET', '/api/agents?q=secret')).body.items).toEqual([]);
  });

  test('a name is unique among its owner’s agents alone', async () => {
    expect(await ann.call('POST', '/api/agents', { name: 'secret' })).toMatchObject({
      status: 409,
      body: { code: 'already_exists', detail: 'name: an agent with this name exists already.' },
    });
    expect((await bob.call('POST', '/api/agents', { name: 'secret' })).status).toBe(201);
  });

  test('one name assigned at the same time registers one agent', async () => {
    const { body: project } = await ann.call('POST', '/api/projects', { name: 'P' });
    const branches = await Promise.all(
      ['a', 'b', 'c', 'd'].map(
        async (name) => (await ann.call('POST', '/api/branches', { project_id: project.id, name })).body.id,
      ),
    );
    const assigned = await Promise.all(
      branches.map((id) => ann.call('POST', `/api/branches/${id}/assign-agent`, { agent_name: 'new one' })),
    );
    expect(assigned.map((answer) => answer.status)).toEqual([200, 200, 200, 200]);
    expect(new Set(assigned.map((answer) => answer.body.assigned_agent_id)).size).toBe(1);
  });

  test('bad input names the field', async () => {
    for (const [body, field] of [
      [{}, 'name'],
      [{ name: 'x', role: '' }, 'role'],
      [{ name: 'x', status: 'asleep' }, 'status'],
      [{ name: 'x', availability_score: 1.5 }, 'availability_score'],
      [{ name: 'x', capabilities: 'all' }, 'capabilities'],
      [{ name: 'x', capabilities: [''] }, 'capabilities.0'],
    ] as const) {
      const answer = await ann.call('POST', '/api/agents', body);
      expect(answer).toMatchObject({ status: 400, body: { code: 'validation_failed' } });
      expect(answer.body.errors[0].field).toBe(field);
    }
    expect(await ann.call('GET', '/api/agents?status=asleep')).toMatchObject({ status: 400 });
    expect(await ann.call('PATCH', `/api/agents/${agent.id}`, {})).toMatchObject({ status: 400 });
  });
});
