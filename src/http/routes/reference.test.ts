import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { startTestServer, type TestServer, type TestUser } from '../../../test/support/server.ts';
import { html, prose } from '../reference/markup.ts';
import type { OpenApiDocument, Operation } from '../reference/openapi.ts';
import { isObject } from '../reference/schemas.ts';

let server: TestServer;
let ann: TestUser;
let document: OpenApiDocument;
let operations: { method: string; path: string; operation: Operation }[];

beforeAll(async () => {
  server = await startTestServer();
  ann = await server.user({ roles: ['user', 'admin'] });
  document = (await server.call('GET', '/openapi.json')).body;
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  );
});
afterAll(() => server?.close());

test('it has every route and nothing else', () => {
  const routes = server.routes().filter((route) => !route.startsWith('HEAD '));
  const documented = operations.map(({ method, path }) => `${method} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`);
  expect(routes).toContain('GET /api/projects/:id');
  expect(documented.toSorted()).toEqual(routes.toSorted());
});

test('it is OpenAPI 3.1: every reference leads somewhere, every operation can be told from the others', () => {
  expect(document.openapi).toMatch(/^3\.1\.\d$/);
  expect(document.info).toMatchObject({ title: 'ringfence', version: expect.stringMatching(/^\d/) });
  const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]*)"/g)].map(([, address]) => address ?? '');
  expect(references.length).toBeGreaterThan(50);
  for (const address of new Set(references)) expect(target(address), address).toBeDefined();
  const ids = operations.map(({ operation }) => operation.operationId);
  expect(ids.filter((id, at) => ids.indexOf(id) !== at)).toEqual([]);
  expect(ids.filter((id) => !/^[a-z][A-Za-z0-9]+$/.test(id))).toEqual([]);
  const ofComponents = Object.values(document.components).flatMap((group) => Object.keys(group));
  expect(ofComponents.filter((name) => !/^[\w.-]+$/.test(name))).toEqual([]);
});

function target(address: string): unknown {
  const steps = address.replace(/^#\//, '').split('/');
  return steps.reduce<unknown>((at, step) => (isObject(at) ? at[step] : undefined), document);
}

test('each operation says what it does, what it takes and how it refuses', () => {
  for (const { method, path, operation } of operations) {
    const where = `${method} ${path}`;
    expect(operation.summary, where).toMatch(/^[A-Z]/);
    expect(operation.tags, where).toHaveLength(1);
    expect(operation.tags, where).not.toContain('other');
    expect(operation.responses.default, where).toEqual({ $ref: '#/components/responses/Problem' });
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    const declared = operation.parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name);
    expect(declared.toSorted(), where).toEqual(inPath.toSorted());
    expect(
      Object.keys(operation.responses).some((status) => status.startsWith('2')),
      where,
    ).toBe(true);
  }
});

test('the security that it names is the one that is kept', async () => {
  const id = '01900000-0000-7000-8000-000000000000';
  for (const { method, path, operation } of operations) {
    const address = path.replaceAll('{level}', 'task').replaceAll(/\{\w+\}/g, id);
    const { status, body } = await server.call(method, address);
    const refused = status === 401 && body.code === 'unauthenticated';
    expect(refused, `${method} ${path}: ${status}`).toBe(operation.security.length > 0);
  }
});

test('preconditions and idempotency are where the routes have them', () => {
  const parametersOf = (method: string, path: string) => JSON.stringify(operation(method, path).parameters);
  expect(parametersOf('PATCH', '/api/projects/{id}')).toContain('#/components/parameters/IfMatch');
  expect(parametersOf('POST', '/api/projects')).toContain('#/components/parameters/IdempotencyKey');
  expect(parametersOf('GET', '/api/projects')).not.toMatch(/IfMatch|IdempotencyKey/);
  expect(operation('GET', '/api/projects/{id}').responses['200']).toMatchObject({
    headers: { ETag: { $ref: '#/components/headers/ETag' } },
  });
});

function operation(method: string, path: string): Operation {
  const found = operations.find((entry) => entry.method === method && entry.path === path);
  if (!found) throw new Error(`${method} ${path} is not documented`);
  return found.operation;
}

test('answers are what it says they are', async () => {
  const made = await ann.call('POST', '/api/projects', { name: 'Apollo', metadata: { a: [1, null] } });
  const cases = [
    ['GET', '/api/projects', '/api/projects', '200'],
    ['GET', '/api/projects/{id}', `/api/projects/${made.body.id}`, '200'],
    ['GET', '/api/branches', '/api/branches', '200'],
    ['GET', '/admin/users', '/admin/users', '200'],
    ['GET', '/admin/access-log', '/admin/access-log', '200'],
    ['GET', '/admin/system/projects', '/admin/system/projects', '200'],
    ['GET', '/api/projects/{id}', '/api/projects/1', '400'],
    ['GET', '/api/projects/{id}', '/api/projects/01900000-0000-7000-8000-000000000000', '404'],
  ] as const;
  for (const [method, path, address, status] of cases) {
    const answer = await ann.call(method, address);
    expect(String(answer.status), address).toBe(status);
    const fault = faultOf(schemaOf(operation(method, path), status), answer.body);
    expect(fault, `${method} ${address}`).toBeUndefined();
  }
  // The check itself can fail.
  expect(faultOf(schemaOf(operation('GET', '/api/projects'), '200'), { items: [{ id: 1 }] })).toBeDefined();
});

function schemaOf({ responses }: Operation, status: string): unknown {
  const given = responses[status];
  const answer = typeof given?.$ref === 'string' ? target(given.$ref) : given;
  const content = isObject(answer) && isObject(answer.content) ? Object.values(answer.content)[0] : undefined;
  return isObject(content) ? content.schema : undefined;
}

function faultOf(schema: unknown, body: unknown): string | undefined {
  if (!isObject(schema)) return 'no schema';
  const whole = JSON.stringify({ ...schema, $defs: document.components.schemas });
  const parsed = z.fromJSONSchema(JSON.parse(whole.replaceAll('#/components/schemas/', '#/$defs/'))).safeParse(body);
  return parsed.success ? undefined : z.prettifyError(parsed.error);
}

test('the page has it all, loads nothing and runs nothing', async () => {
  const page = await server.call('GET', '/docs');
  expect(page).toMatchObject({ status: 200 });
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
  for (const { operation } of operations) expect(page.text).toContain(`<div id="${operation.operationId}">`);
  expect(page.text).not.toMatch(/<script|<link|<img|<iframe|\son\w+=|\sstyle=|src=|url\(|@import/i);
  const links = [...page.text.matchAll(/href="([^"]*)"/g)].map(([, href]) => href ?? '');
  const ids = new Set([...page.text.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => `#${id}`));
  expect([...ids].filter((id) => /\s/.test(id))).toEqual([]);
  expect(links.filter((href) => href !== '/openapi.json' && !ids.has(href))).toEqual([]);

  const style = /<style>(.*?)<\/style>/s.exec(page.text)?.[1] ?? '';
  const hash = createHash('sha256').update(style).digest('base64');
  expect(page.headers.get('content-security-policy')).toBe(
    `default-src 'none';style-src 'sha256-${hash}';base-uri 'none';form-action 'none';frame-ancestors 'none'`,
  );
});

test('answers of the API may not be framed or taken for a page', async () => {
  const { headers } = await ann.call('GET', '/api/projects');
  expect(headers.get('content-security-policy')).toBe("default-src 'none';frame-ancestors 'none'");
  expect(headers.get('x-content-type-options')).toBe('nosniff');
  expect(headers.get('strict-transport-security')).toBeNull();
});

test('whatever is put into the page is escaped', () => {
  const evil = '<script>"&\'';
  expect(html`<p title="${evil}">${[evil, html`<b>${1}</b>`]}</p>`.text).toBe(
    '<p title="&lt;script&gt;&quot;&amp;&#39;">&lt;script&gt;&quot;&amp;&#39;<b>1</b></p>',
  );
  expect(prose('one `<b>`\n\ntwo').map(({ text }) => text)).toEqual([
    '<p>one <code>&lt;b&gt;</code></p>',
    '<p>two</p>',
  ]);
});

test('what browsers are told about one route is not told about another, in a second application either', async () => {
  const second = await startTestServer();
  try {
    const policies = ['/openapi.json', '/docs', '/openapi.json'].map(async (path) =>
      (await second.call('GET', path)).headers.get('content-security-policy'),
    );
    const [json, page, again] = await Promise.all(policies);
    expect(json).toBe("default-src 'none';frame-ancestors 'none'");
    expect(page).toContain('style-src');
    expect(again).toBe(json);
  } finally {
    await second.close();
  }
});
