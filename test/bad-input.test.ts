/** Whatever is sent, the answer is one clear problem document and never a 5xx. */
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { refuseGarbage } from '../src/http/protocol.ts';
import { type RawAnswer, sendRaw } from './support/raw-http.ts';
import { startTestServer, type TestServer, type TestUser } from './support/server.ts';

let server: TestServer;
let ann: TestUser;
let projectPath: string;

beforeAll(async () => {
  server = await startTestServer();
  ann = await server.user();
  projectPath = `/api/projects/${(await ann.call('POST', '/api/projects', { name: 'Apollo' })).body.id}`;
});
afterEach(async () => {
  // Whatever a case did, the server still answers.
  expect((await ann.call('GET', '/api/projects?limit=1')).status).toBe(200);
});
afterAll(() => server?.close());

const nested = (levels: number) => `{"name":"n","metadata":{"a":${'['.repeat(levels)}${']'.repeat(levels)}}}`;

/** What is wrong, the body as sent, status and code of the answer, what its detail says. */
const bodies: readonly (readonly [string, string, number, string, RegExp])[] = [
  ['no body', '', 400, 'validation_failed', /^body: is required$/],
  ['white space', ' \n\t ', 400, 'validation_failed', /^body: is required$/],
  ['half an object', '{"name":', 400, 'malformed_request', /^body: must be JSON/],
  ['single quotes', "{'name':'a'}", 400, 'malformed_request', /^body: must be JSON/],
  ['the shell’s quotes', '\'{"name":"a"}\'', 400, 'malformed_request', /single quote/],
  ['a form', 'name=Apollo&description=x', 400, 'malformed_request', /start with \{/],
  ['two documents', '{"name":"a"}{"name":"b"}', 400, 'malformed_request', /^body: must be JSON/],
  ['a trailing comma', '{"name":"a",}', 400, 'malformed_request', /^body: must be JSON/],
  ['a comment', '{"name":"a"/* x */}', 400, 'malformed_request', /^body: must be JSON/],
  ['NaN', '{"name":NaN}', 400, 'malformed_request', /^body: must be JSON/],
  ['a raw control character', '{"name":"a\u0001b"}', 400, 'malformed_request', /control character/],
  ['a list', '[]', 400, 'validation_failed', /^body: must be a JSON object$/],
  ['null', 'null', 400, 'validation_failed', /^body: is required$/],
  ['a number', '1', 400, 'validation_failed', /^body: must be a JSON object$/],
  ['text', '"name"', 400, 'validation_failed', /^body: must be a JSON object$/],
  ['an empty object', '{}', 400, 'validation_failed', /^name: is required$/],
  ['null for a name', '{"name":null}', 400, 'validation_failed', /^name: must be text$/],
  ['a number for a name', '{"name":7}', 400, 'validation_failed', /^name: must be text$/],
  ['an object for a name', '{"name":{"$gt":""}}', 400, 'validation_failed', /^name: must be text$/],
  ['a list for a name', '{"name":["a"]}', 400, 'validation_failed', /^name: must be text$/],
  ['an empty name', '{"name":""}', 400, 'validation_failed', /^name: must be 1 to 200 characters long$/],
  ['a blank name', '{"name":" \\t\\u00a0"}', 400, 'validation_failed', /^name: must be 1 to 200/],
  ['a long name', `{"name":"${'x'.repeat(201)}"}`, 400, 'validation_failed', /^name: must be 1 to 200/],
  ['a long name of emoji', `{"name":"${'😀'.repeat(201)}"}`, 400, 'validation_failed', /^name: must be 1 to 200/],
  ['a huge name', `{"name":"${'x'.repeat(900_000)}"}`, 400, 'validation_failed', /^name: must be 1 to 200/],
  [
    'an unknown field',
    '{"name":"a","colour":1}',
    400,
    'validation_failed',
    /^colour: is not known here; known are name/,
  ],
  ['somebody else’s id', `{"name":"a","user_id":"x"}`, 400, 'validation_failed', /^user_id: is not known here/],
  ['text for metadata', '{"name":"a","metadata":"{}"}', 400, 'validation_failed', /^metadata: must be a JSON object$/],
  ['a list for metadata', '{"name":"a","metadata":[]}', 400, 'validation_failed', /^metadata: must be a JSON object$/],
  ['NUL in a name', '{"name":"a\\u0000b"}', 400, 'validation_failed', /^name: must not contain NUL/],
  ['a lone surrogate', '{"name":"a\\ud800"}', 400, 'validation_failed', /^name: must not contain NUL or a lone/],
  ['a low surrogate', '{"name":"\\udc00a"}', 400, 'validation_failed', /^name: must not contain NUL or a lone/],
  [
    'NUL deep down',
    '{"name":"a","metadata":{"k":[1,{"x":"\\u0000"}]}}',
    400,
    'validation_failed',
    /^metadata\.k\.1\.x: /,
  ],
  [
    'NUL in a key',
    '{"name":"a","metadata":{"k":{"a\\u0000":1}}}',
    400,
    'validation_failed',
    /^metadata\.k: a key must not/,
  ],
  [
    'a surrogate in a key',
    '{"name":"a","metadata":{"\\ud83d":1}}',
    400,
    'validation_failed',
    /^metadata: a key must not/,
  ],
  ['NUL below a NUL key', '{"a\\u0000":{"b":"\\u0000"}}', 400, 'validation_failed', /a key must not/],
  [
    '__proto__',
    '{"name":"a","__proto__":{"admin":true}}',
    400,
    'validation_failed',
    /^body: a key must not be __proto__$/,
  ],
  [
    '__proto__ in metadata',
    '{"name":"a","metadata":{"__proto__":1}}',
    400,
    'validation_failed',
    /^metadata: a key must/,
  ],
  ['__proto__ escaped', '{"name":"a","\\u005f_proto__":1}', 400, 'validation_failed', /__proto__$/],
  [
    'a number without end',
    '{"name":"a","metadata":{"n":1e999}}',
    400,
    'validation_failed',
    /^metadata\.n: a number is out/,
  ],
  ['65 levels', nested(63), 400, 'validation_failed', /more than 64 levels/],
  ['100 thousand levels', nested(100_000), 400, 'validation_failed', /^metadata\.a\.0\.0.*more than 64 levels/],
  ['an endless opening', '['.repeat(500_000), 400, 'malformed_request', /^body: must be JSON/],
  ['objects all the way', `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`, 400, 'validation_failed', /64 levels/],
  ['more than 1 MiB', `{"name":"${'x'.repeat(1024 * 1024)}"}`, 413, 'payload_too_large', /1 MiB/],
];

test.each(bodies)('a body with %s', async (_, body, status, code, detail) => {
  const answer = await ann.call('POST', '/api/projects', body);
  expect(answer).toMatchObject({ status, body: { status, code } });
  expect(answer.body.detail).toMatch(detail);
  expect(answer.body.type).toBe(`urn:ringfence:problem:${answer.body.code}`);
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  expect(answer.body.request_id).toBe(answer.headers.get('x-request-id'));
});

test('bytes that are no UTF-8 are refused, not repaired', async () => {
  const head = 'POST /api/projects HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n';
  const body = Buffer.concat([Buffer.from('{"name":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]);
  const [answer] = await sendRaw(
    server.url,
    `${head}authorization: Bearer ${ann.token}\r\ncontent-length: ${body.length}\r\n\r\n`,
    body,
  );
  expect(answer).toMatchObject({ status: 400, body: expect.stringContaining('must be UTF-8') });
});

/** What is wrong, the query, the field that the answer names. */
const queries: readonly (readonly [string, string, RegExp])[] = [
  ['a limit of nought', 'limit=0', /^limit: must be between 1 and 100, got 0$/],
  ['a negative limit', 'limit=-1', /^limit: must be between 1 and 100, got -1$/],
  ['a large limit', 'limit=101', /^limit: must be between 1 and 100, got 101$/],
  ['an immense limit', 'limit=9007199254740993', /^limit: must be /],
  ['a limit beyond numbers', 'limit=1e999', /^limit: must be /],
  ['half a limit', 'limit=1.5', /^limit: must be a whole number between 1 and 100$/],
  ['words for a limit', 'limit=many', /^limit: must be a number between 1 and 100$/],
  ['no limit', 'limit=', /^limit: must be between 1 and 100, got 0$/],
  ['NUL for a limit', 'limit=%00', /^limit: must be a number/],
  ['two limits', 'limit=1&limit=2', /^limit: must be given once$/],
  ['a list of limits', 'limit[]=1', /^limit\[\]: is not known here; known are limit, cursor$/],
  ['two cursors', 'cursor=a&cursor=b', /^cursor: must be given once$/],
  ['an empty cursor', 'cursor=', /^cursor: must be at least 1 characters long$/],
  ['a cursor of nonsense', 'cursor=nonsense', /^cursor: not one that this list gave out/],
  ['a cursor with NUL', 'cursor=%00', /^cursor: not one/],
  ['a cursor that is JSON', `cursor=${Buffer.from('["x","y","z"]').toString('base64url')}`, /^cursor: not one/],
  ['a cursor of SQL', "cursor='%20or%201=1--", /^cursor: not one/],
  ['a long cursor', `cursor=${'a'.repeat(3000)}`, /^cursor: must be at most 2000 characters long$/],
  ['an unknown name', 'offset=10', /^offset: is not known here; known are limit, cursor$/],
  ['__proto__', '__proto__=1', /^__proto__: is not known here/],
  ['__proto__ by index', '__proto__[admin]=1', /is not known here/],
  ['constructor', 'constructor=1', /^constructor: is not known here/],
  ['a broken percent sign', 'limit=%zz', /% must be followed by two hexadecimal digits/],
  ['half a percent sign', 'limit=1%', /% must be followed/],
  ['half a character', 'cursor=%C3', /% must be followed/],
  ['a surrogate', 'cursor=%ED%A0%80', /% must be followed/],
];

test.each(queries)('a query with %s', async (_, query, detail) => {
  const answer = await ann.call('GET', `/api/projects?${query}`);
  expect(answer).toMatchObject({ status: 400, body: { status: 400 } });
  expect(answer.body.detail).toMatch(detail);
});

const uuid = '01900000-0000-7000-8000-000000000000';

/** What is wrong, method and address, status, what the detail says. */
const addresses: readonly (readonly [string, string, string, number, RegExp])[] = [
  ['an id that is none', 'GET', '/api/projects/1', 400, /^id: must be a UUID$/],
  ['an id of SQL', 'DELETE', "/api/projects/'%20or%20''='", 400, /^id: must be a UUID$/],
  ['an id with NUL', 'GET', '/api/projects/%00', 400, /^id: must be a UUID$/],
  ['an id with a slash', 'GET', '/api/projects/..%2f..%2fetc', 400, /^id: must be a UUID$/],
  ['an id in braces', 'GET', `/api/projects/{${uuid}}`, 400, /^id: must be a UUID$/],
  ['an id with an end', 'GET', `/api/projects/${uuid}%0a`, 400, /^id: must be a UUID$/],
  ['a long id', 'GET', `/api/projects/${'a'.repeat(300)}`, 414, /too long/],
  ['a broken percent sign', 'GET', '/api/projects/%zz', 400, /% must be followed/],
  ['half a character', 'GET', '/api/projects/%c3', 400, /% must be followed/],
  ['a broken percent sign nowhere', 'GET', '/nowhere/%', 400, /% must be followed/],
  ['no such address', 'GET', '/nowhere', 404, /^There is no GET \/nowhere\.$/],
  ['no such address, to post to', 'POST', '/nowhere', 404, /^There is no POST \/nowhere\.$/],
  ['an address beyond 8,000 characters', 'GET', `/api/projects?cursor=${'a'.repeat(8000)}`, 414, /8000/],
];

test.each(addresses)('an address with %s', async (_, method, path, status, detail) => {
  const answer = await ann.call(method, path);
  expect(answer).toMatchObject({ status, body: { status } });
  expect(answer.body.detail).toMatch(detail);
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  expect(answer.headers.get('x-request-id')).toBe(answer.body.request_id);
});

/** What is wrong, the date and time, what the answer says of it. */
const times: readonly (readonly [string, string, RegExp])[] = [
  ['words', 'tomorrow', /such as 2026-11-23T12:00:00Z$/],
  ['a date alone', '2026-01-01', /such as/],
  ['no offset', '2026-01-01T00:00:00', /such as/],
  ['a day that is none', '2026-02-30T00:00:00Z', /such as/],
  ['a leap second', '2026-12-31T23:59:60Z', /such as/],
  ['five digits of a year', '12026-01-01T00:00:00Z', /such as/],
  ['a sign', '-2026-01-01T00:00:00Z', /such as/],
  ['an offset of 16 hours', '2026-01-01T00:00:00+16:00', /offset between -15:59 and \+15:59$/],
  ['an offset of minus 23 hours', '2026-01-01T00:00:00-23:59', /offset between/],
  ['an offset of 24 hours', '2026-01-01T00:00:00+24:00', /such as/],
  ['the year nought', '0000-12-31T23:59:59Z', /years 0001 to 9999/],
  ['the year nought by its offset', '0001-01-01T00:00:00+00:01', /years 0001 to 9999/],
  ['the year 10000 by its offset', '9999-12-31T23:59:59-00:01', /years 0001 to 9999/],
  ['the year 10000 by rounding', '9999-12-31T23:59:59.9999996Z', /years 0001 to 9999/],
];

test.each(times)('a date and time with %s', async (_, time, detail) => {
  const agent = (await ann.call('POST', '/api/agents', { name: `agent for ${time}` })).body.id;
  const answers = {
    due_date: await ann.call('POST', '/api/tasks', { title: 'T', description: 'D', due_date: time }),
    last_active_at: await ann.call('PATCH', `/api/agents/${agent}`, { last_active_at: time }),
    expires_at: await ann.call('POST', '/api/user/tokens', { name: 'T', scopes: ['read'], expires_at: time }),
    due_before: await ann.call('GET', `/api/tasks?due_before=${encodeURIComponent(time)}`),
    due_after: await ann.call('GET', `/api/tasks?due_after=${encodeURIComponent(time)}`),
  };
  for (const [field, answer] of Object.entries(answers)) {
    expect(answer, field).toMatchObject({ status: 400, body: { code: 'validation_failed', errors: [{ field }] } });
    expect(answer.body.errors, field).toHaveLength(1);
    expect(answer.body.detail, field).toMatch(detail);
  }
});

test.each([
  ['2026-01-01T00:00:00+15:59', '2025-12-31T08:01:00+00:00'],
  ['2026-01-01T00:00:00.123456789-15:59', '2026-01-01T15:59:00.123457+00:00'],
  ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00+00:00'],
  ['9999-12-31T23:59:59.999999Z', '9999-12-31T23:59:59.999999+00:00'],
])('the date and time %s is kept, and can be paged by', async (sent, kept) => {
  const eve = await server.user();
  for (const title of ['A', 'B']) {
    const made = await eve.call('POST', '/api/tasks', { title, description: 'D', due_date: sent });
    expect(made).toMatchObject({ status: 201, body: { due_date: kept } });
  }
  const first = await eve.call('GET', '/api/tasks?sort=due_date&limit=1');
  const second = await eve.call('GET', `/api/tasks?sort=due_date&limit=1&cursor=${first.body.next_cursor}`);
  expect(second).toMatchObject({ status: 200, body: { items: [{ due_date: kept }], next_cursor: null } });
});

test('a cursor with an offset that Postgres does not have', async () => {
  for (const title of ['A', 'B']) await ann.call('POST', '/api/tasks', { title, description: 'D' });
  const { next_cursor: cursor } = (await ann.call('GET', '/api/tasks?sort=due_date&limit=1')).body;
  const [order, , id] = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
  for (const key of ['2026-01-01 00:00:00+99', '2026-13-45 00:00:00+00', '0000-01-01 00:00:00+00']) {
    const madeUp = Buffer.from(JSON.stringify([order, key, id])).toString('base64url');
    const answer = await ann.call('GET', `/api/tasks?sort=due_date&cursor=${madeUp}`);
    expect(answer, key).toMatchObject({ status: 400, body: { code: 'validation_failed' } });
  }
});

describe('methods', () => {
  test.each([
    ['PUT', '/api/projects', 'GET, HEAD, OPTIONS, POST'],
    ['DELETE', '/api/projects', 'GET, HEAD, OPTIONS, POST'],
    ['PATCH', '/api/projects', 'GET, HEAD, OPTIONS, POST'],
    ['POST', `/api/projects/${uuid}`, 'DELETE, GET, HEAD, OPTIONS, PATCH'],
    ['PROPFIND', '/api/projects', 'GET, HEAD, OPTIONS, POST'],
  ])('%s %s is not allowed, and Allow says what is', async (method, path, allow) => {
    const answer = await ann.call(method, path);
    expect(answer).toMatchObject({ status: 405, body: { code: 'method_not_allowed' } });
    expect(answer.headers.get('allow')).toBe(allow);
  });

  test('OPTIONS says what is allowed, without a token', async () => {
    const answer = await server.call('OPTIONS', '/api/projects');
    expect(answer).toMatchObject({ status: 204, text: '' });
    expect(answer.headers.get('allow')).toBe('GET, HEAD, OPTIONS, POST');
    expect((await server.call('OPTIONS', '/nowhere')).status).toBe(404);
  });

  test('HEAD is GET without the body', async () => {
    const authorization = `Bearer ${ann.token}`;
    const get = await ann.call('GET', projectPath);
    const head = await fetch(`${server.url}${projectPath}`, { method: 'HEAD', headers: { authorization } });
    expect(head.status).toBe(200);
    expect(await head.text()).toBe('');
    for (const header of ['etag', 'content-type', 'content-length']) {
      expect(head.headers.get(header)).toBe(get.headers.get(header));
    }
    const absent = await fetch(`${server.url}/api/projects/${uuid}`, { method: 'HEAD', headers: { authorization } });
    expect(absent.status).toBe(404);
    expect((await fetch(`${server.url}${projectPath}`, { method: 'HEAD' })).status).toBe(401);
  });
});

describe('types of a body', () => {
  test.each(['application/json', 'application/json; charset=utf-8', 'application/x-www-form-urlencoded', 'text/plain'])(
    '%s is read as JSON',
    async (type) => {
      const answer = await ann.call('POST', '/api/projects', '{"name":"by type"}', { 'content-type': type });
      expect(answer).toMatchObject({ status: 201, body: { name: 'by type' } });
    },
  );

  test.each(['application/xml', 'multipart/form-data; boundary=x', 'nonsense', 'application/', ';', 'a/b/c'])(
    '%s is refused',
    async (type) => {
      const answer = await ann.call('POST', '/api/projects', '{"name":"by type"}', { 'content-type': type });
      expect(answer).toMatchObject({ status: 415, body: { code: 'unsupported_media_type' } });
    },
  );

  test('no type at all is read as JSON', async () => {
    const body = '{"name":"typeless"}';
    const [answer] = await raw(`POST /api/projects HTTP/1.1`, `content-length: ${body.length}`, body);
    expect(answer).toMatchObject({ status: 201, body: expect.stringContaining('typeless') });
  });

  test('a compressed body is refused', async () => {
    const body = gzipSync('{"name":"zip"}');
    const response = await fetch(`${server.url}/api/projects`, {
      method: 'POST',
      headers: { authorization: `Bearer ${ann.token}`, 'content-encoding': 'gzip', 'content-type': 'application/json' },
      body,
    });
    expect(response.status).toBe(415);
    expect(response.headers.get('accept-encoding')).toBe('identity');
    expect(await response.json()).toMatchObject({ code: 'unsupported_media_type' });
  });
});

test('what is odd but harmless is kept as it is', async () => {
  const metadata = '{"constructor":{"prototype":{"x":1}},"toString":"é😀","a":1,"hasOwnProperty":null,"":0}';
  const made = await ann.call('POST', '/api/projects', `{"name":"first","name":"last","metadata":${metadata}}`);
  expect(made).toMatchObject({ status: 201, body: { name: 'last' } });
  expect(made.body.metadata).toEqual(JSON.parse(metadata));
  expect((await ann.call('POST', '/api/projects', nested(62))).status).toBe(201);
  expect((await ann.call('POST', '/api/projects', '\ufeff{"name":"BOM"}')).status).toBe(201);
});

/** One request by hand, with Ann's token; the last of `lines` is the body. */
function raw(start: string, ...lines: string[]): Promise<RawAnswer[]> {
  const body = lines.pop() ?? '';
  const head = [start, 'host: x', 'connection: close', `authorization: Bearer ${ann.token}`, ...lines];
  return sendRaw(server.url, `${head.join('\r\n')}\r\n\r\n${body}`);
}

describe('below the routes', () => {
  const garbage: readonly (readonly [string, string | Uint8Array, number])[] = [
    ['words', 'hello\r\n\r\n', 400],
    ['TLS', Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]), 400],
    ['an unknown method', 'FOO / HTTP/1.1\r\nhost: x\r\n\r\n', 400],
    ['an unknown version', 'GET / HTTP/9.9\r\nhost: x\r\n\r\n', 400],
    ['no host', 'GET /api/projects HTTP/1.1\r\nconnection: close\r\n\r\n', 400],
    ['two hosts', 'GET /health HTTP/1.1\r\nhost: x\r\nhost: y\r\nconnection: close\r\n\r\n', 400],
    ['one host twice', 'GET /health HTTP/1.1\r\nhost: x\r\nHost: x\r\nconnection: close\r\n\r\n', 400],
    ['two hosts in HTTP/1.0', 'GET /health HTTP/1.0\r\nhost: x\r\nhost: y\r\n\r\n', 400],
    ['a header without a colon', 'GET / HTTP/1.1\r\nhost: x\r\nnonsense\r\n\r\n', 400],
    ['a header with NUL', 'GET / HTTP/1.1\r\nhost: x\r\nx-a: \0\r\n\r\n', 400],
    ['a space before the colon', 'GET / HTTP/1.1\r\nhost : x\r\n\r\n', 400],
    ['two lengths', 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab', 400],
    [
      'length and chunks',
      'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
    ['a negative length', 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n', 400],
    ['chunks of nonsense', 'POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n', 400],
    ['headers beyond 16 KiB', `GET / HTTP/1.1\r\nhost: x\r\nx-a: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
    ['an address beyond 16 KiB', `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nhost: x\r\n\r\n`, 431],
  ];
  test.each(garbage)('%s', async (_, bytes, status) => {
    const answer = (await sendRaw(server.url, bytes)).at(-1);
    expect(answer).toMatchObject({
      status,
      head: expect.stringMatching(/^content-type: application\/problem\+json/im),
    });
    expect(JSON.parse(answer?.body ?? '')).toMatchObject({ status, request_id: expect.stringMatching(/./) });
  });

  test('nothing follows a request for another protocol, so that no garbage waits for an answer', async () => {
    const upgrade = 'GET /health HTTP/1.1\r\nhost: x\r\nconnection: upgrade, keep-alive\r\nupgrade: h2c\r\n\r\n';
    const answers = await sendRaw(server.url, `${upgrade}GET nowhere HTTP/1.1\r\nhost: x\r\n\r\n`);
    expect(answers).toMatchObject([{ status: 200, head: expect.stringMatching(/^connection: close$/im) }]);
  });

  test('a request that never ends is given up with 408', async () => {
    // Node looks for late requests every 30 seconds unless it is told otherwise, which Fastify does not let us.
    const strict = createServer({ requestTimeout: 50, headersTimeout: 50, connectionsCheckingInterval: 20 });
    strict.on('clientError', refuseGarbage);
    await new Promise<void>((resolve) => strict.listen(0, '127.0.0.1', resolve));
    const address = strict.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const [answer] = await sendRaw(`http://127.0.0.1:${port}`, 'GET / HTTP/1.1\r\nhost: x\r\nx-slow: ');
    expect(answer?.status).toBe(408);
    expect(JSON.parse(answer?.body ?? '')).toMatchObject({ code: 'request_timeout', retryable: true });
    await new Promise((resolve) => strict.close(resolve));
  });

  test('a client that goes away in the middle of its body harms nobody', async () => {
    const head = `POST /api/projects HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${ann.token}\r\n`;
    const { hostname, port } = new URL(server.url);
    const socket = connect({ host: hostname, port: Number(port) });
    await new Promise<void>((resolve) =>
      socket.write(`${head}content-length: 1000\r\n\r\n{"name":"half`, () => resolve()),
    );
    socket.destroy();
    const { body } = await ann.call('GET', '/api/projects');
    expect(body.items.map((item: { name: string }) => item.name)).not.toContain('half');
  });

  test('OPTIONS * and an absolute address are understood', async () => {
    expect((await raw('OPTIONS * HTTP/1.1', ''))[0]).toMatchObject({ status: 204 });
    expect((await raw('GET http://x/api/projects?limit=1 HTTP/1.1', ''))[0]).toMatchObject({ status: 200 });
  });

  test('HTTP/1.0 with keep-alive, as ApacheBench speaks it', async () => {
    const get = (connection: string) =>
      `GET /api/projects?limit=1 HTTP/1.0\r\nConnection: ${connection}\r\nAuthorization: Bearer ${ann.token}\r\n\r\n`;
    const answers = await sendRaw(server.url, get('Keep-Alive'), get('Keep-Alive'), get('close'));
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200]);
    expect(answers[0]?.head).toMatch(/^connection: keep-alive$/im);
    expect(answers[0]?.head).toMatch(/^content-length: \d+$/im);
  });
});
