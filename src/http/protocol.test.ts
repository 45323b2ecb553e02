import { afterAll, beforeAll, expect, test } from 'vitest';
import { sendRaw } from '../../test/support/raw-http.ts';
import { startTestServer, type TestServer } from '../../test/support/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server?.close());

const body = '{"email":"nobody@example.test","password":"not it"}';
const login = (expect: string, version = '1.1') =>
  `POST /api/auth/login HTTP/${version}\r\nhost: x\r\nconnection: close\r\nexpect: ${expect}\r\ncontent-length: ${body.length}\r\n\r\n`;

test.each(['200-ok', 'x', '', '100-continue, x', 'x-100-continue'])(
  'the expectation %j is refused in words',
  async (value) => {
    const answers = await sendRaw(server.url, login(value), body);
    const answer = answers.find(({ status }) => status !== 100);
    expect(answer).toMatchObject({ status: 400, head: expect.stringMatching(/^x-request-id: ./im) });
    expect(JSON.parse(answer?.body ?? '')).toMatchObject({
      code: 'malformed_request',
      detail: 'expect: must be 100-continue.',
    });
  },
);

test('the one expectation there is is met, and HTTP/1.0 has none', async () => {
  const answers = await sendRaw(server.url, login('100-Continue'), body);
  expect(answers.map(({ status }) => status)).toEqual([100, 401]);
  expect((await sendRaw(server.url, login('x', '1.0'), body)).map(({ status }) => status)).toEqual([401]);
});
