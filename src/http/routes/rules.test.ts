import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestServer, type TestServer, type TestUser } from '../../../test/support/server.ts';

const nobody = '01900000-0000-7000-8000-000000000000';

interface Work {
  readonly project_id: string;
  readonly git_branch_id: string;
}

async function workOf(user: TestUser): Promise<Work> {
  const { body: project } = await user.call('POST', '/api/projects', { name: 'P' });
  const { body: branches } = await user.call('GET', `/api/projects/${project.id}/branches`);
  return { project_id: project.id, git_branch_id: branches.items[0].id };
}

async function newRule(user: TestUser, fields: object = {}): Promise<string> {
  const { status, body } = await user.call('POST', '/api/rules', { name: 'R', content: 'be kind', ...fields });
  expect(status).toBe(201);
  return body.id;
}

describe.each([
  ['isolated', 'on'],
  ['isolated', 'off'],
  ['before_isolation', 'ownerless'],
] as const)('on a schema %s with isolation %s', (template, enforcement) => {
  let server: TestServer;
  let ann: TestUser;
  let work: Work;

  beforeAll(async () => {
    server = await startTestServer({ template, enforcement });
    ann = await server.user();
    work = await workOf(ann);
  });
  afterAll(() => server?.close());

  test('a rule is made, read, changed and removed', async () => {
    const made = await ann.call('POST', '/api/rules', { name: 'Tests first', content: 'Write a test.' });
    expect(made).toMatchObject({
      status: 201,
      body: {
        name: 'Tests first',
        content: 'Write a test.',
        parent_rule_id: null,
        scope: 'user',
        project_id: null,
        git_branch_id: null,
        priority: 0,
        enabled: true,
        version: 1,
      },
    });
    const path = `/api/rules/${made.body.id}`;
    const changed = await ann.call('PATCH', path, { priority: -5, enabled: false }, { 'if-match': '"1"' });
    expect(changed).toMatchObject({ status: 200, body: { priority: -5, enabled: false, version: 2 } });
    expect(await ann.call('PATCH', path, { name: 'x' }, { 'if-match': '"1"' })).toMatchObject({ status: 412 });
    expect((await ann.call('GET', path)).text).toBe(changed.text);
    expect((await ann.call('DELETE', path)).status).toBe(204);
    expect((await ann.call('GET', path)).status).toBe(404);
  });

  test('lists filter by what a rule applies to', async () => {
    const { project_id, git_branch_id } = work;
    const parent = await newRule(ann);
    const ofProject = await newRule(ann, { scope: 'project', project_id, enabled: false });
    const ofBranch = await newRule(ann, { scope: 'branch', git_branch_id, parent_rule_id: parent });
    const ids = async (query: string): Promise<string[]> => {
      const { body } = await ann.call('GET', `/api/rules?${query}`);
      return body.items.map((item: { id: string }) => item.id);
    };
    expect(await ids('')).toEqual([ofBranch, ofProject, parent]);
    expect(await ids('scope=user')).toEqual([parent]);
    expect(await ids(`project_id=${project_id}`)).toEqual([ofProject]);
    expect(await ids(`git_branch_id=${git_branch_id}`)).toEqual([ofBranch]);
    expect(await ids(`parent_rule_id=${parent}`)).toEqual([ofBranch]);
    expect(await ids('enabled=false')).toEqual([ofProject]);
    expect(await ids('enabled=true&limit=1')).toEqual([ofBranch]);
  });

  test('the scope can change when everything goes with it', async () => {
    const { project_id, git_branch_id } = work;
    const path = `/api/rules/${await newRule(ann, { scope: 'project', project_id })}`;
    expect(await ann.call('PATCH', path, { scope: 'branch' })).toMatchObject({
      status: 400,
      body: { errors: [{ field: 'git_branch_id' }] },
    });
    expect(await ann.call('PATCH', path, { project_id: null })).toMatchObject({
      status: 400,
      body: { errors: [{ field: 'project_id' }] },
    });
    expect(await ann.call('PATCH', path, { scope: 'branch', git_branch_id })).toMatchObject({
      status: 200,
      body: { scope: 'branch', project_id: null, git_branch_id },
    });
    expect(await ann.call('PATCH', path, { scope: 'branch', name: 'same scope' })).toMatchObject({ status: 200 });
    expect(await ann.call('PATCH', path, { scope: 'user' })).toMatchObject({
      status: 200,
      body: { scope: 'user', git_branch_id: null },
    });
  });

  test('a cycle of any length is refused and named', async () => {
    const a = await newRule(ann);
    const b = await newRule(ann, { parent_rule_id: a });
    const c = await newRule(ann, { parent_rule_id: b });
    expect(await ann.call('PATCH', `/api/rules/${a}`, { parent_rule_id: c })).toMatchObject({
      status: 409,
      body: { code: 'conflict', cycle: [a, c, b, a] },
    });
    expect(await ann.call('PATCH', `/api/rules/${a}`, { parent_rule_id: a })).toMatchObject({
      status: 409,
      body: { cycle: [a, a] },
    });
    expect(await ann.call('PATCH', `/api/rules/${c}`, { parent_rule_id: a })).toMatchObject({ status: 200 });
    expect(await ann.call('PATCH', `/api/rules/${b}`, { parent_rule_id: null })).toMatchObject({ status: 200 });
    expect((await ann.call('DELETE', `/api/rules/${a}`)).status).toBe(204);
    expect((await ann.call('GET', `/api/rules/${c}`)).body.parent_rule_id).toBeNull();
  });
});

describe('with isolation on', () => {
  let server: TestServer;
  let ann: TestUser;
  let bob: TestUser;

  beforeAll(async () => {
    server = await startTestServer();
    [ann, bob] = await Promise.all([server.user(), server.user()]);
  });
  afterAll(() => server?.close());

  test('another user’s rule answers like one that does not exist', async () => {
    const id = await newRule(ann);
    const sameRequest = { 'x-request-id': 'same-request' };
    for (const [method, body] of [
      ['GET'],
      ['PATCH', { name: 'mine' }],
      ['PATCH', { scope: 'user' }],
      ['PATCH', { parent_rule_id: nobody }],
      ['DELETE'],
    ] as const) {
      const hidden = await bob.call(method, `/api/rules/${id}`, body, sameRequest);
      const missing = await bob.call(method, `/api/rules/${nobody}`, body, sameRequest);
      expect(hidden.status).toBe(404);
      expect(hidden.body).toEqual(missing.body);
    }
    expect((await bob.call('GET', '/api/rules')).body.items).toEqual([]);
  });

  test('no rule refers to what is another user’s', async () => {
    const hers = await workOf(ann);
    const parent = await newRule(ann);
    const his = await newRule(bob);
    const sameRequest = { 'x-request-id': 'same-request' };
    for (const [taken, absent] of [
      [{ parent_rule_id: parent }, { parent_rule_id: nobody }],
      [
        { scope: 'project', project_id: hers.project_id },
        { scope: 'project', project_id: nobody },
      ],
      [
        { scope: 'branch', git_branch_id: hers.git_branch_id },
        { scope: 'branch', git_branch_id: nobody },
      ],
    ]) {
      for (const [method, path] of [
        ['POST', '/api/rules'],
        ['PATCH', `/api/rules/${his}`],
      ] as const) {
        const fields = { name: 'R', content: 'c' };
        const refused = await bob.call(method, path, { ...fields, ...taken }, sameRequest);
        expect(refused.status).toBe(404);
        expect(refused.body).toEqual((await bob.call(method, path, { ...fields, ...absent }, sameRequest)).body);
      }
    }
  });

  test('changes at the same time do not close a cycle together', async () => {
    for (let round = 0; round < 5; round += 1) {
      const [a, b] = [await newRule(ann), await newRule(ann)];
      const answers = await Promise.all([
        ann.call('PATCH', `/api/rules/${a}`, { parent_rule_id: b }),
        ann.call('PATCH', `/api/rules/${b}`, { parent_rule_id: a }),
      ]);
      expect(answers.map((answer) => answer.status).sort()).toEqual([200, 409]);
      expect(answers.find((answer) => answer.status === 409)?.body.cycle).toHaveLength(3);
    }
  });

  test('bad input names the field', async () => {
    const project_id = nobody;
    for (const [fields, field] of [
      [{ name: '' }, 'name'],
      [{ content: '' }, 'content'],
      [{ content: 'x'.repeat(100_001) }, 'content'],
      [{ scope: 'world' }, 'scope'],
      [{ scope: 'project' }, 'project_id'],
      [{ scope: 'branch' }, 'git_branch_id'],
      [{ project_id }, 'project_id'],
      [{ scope: 'branch', project_id, git_branch_id: nobody }, 'project_id'],
      [{ priority: 1001 }, 'priority'],
      [{ priority: 1.5 }, 'priority'],
      [{ enabled: 'yes' }, 'enabled'],
      [{ parent_rule_id: 'x' }, 'parent_rule_id'],
    ] as const) {
      const answer = await ann.call('POST', '/api/rules', { name: 'R', content: 'c', ...fields });
      expect(answer, JSON.stringify(fields).slice(0, 80)).toMatchObject({ status: 400 });
      expect(answer.body.errors[0].field).toBe(field);
    }
    expect(await ann.call('GET', '/api/rules?enabled=maybe')).toMatchObject({ status: 400 });
  });
});
