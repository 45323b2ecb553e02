import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Wire } from './wire.ts';

test('a connection that the server closed between two requests is replaced', async () => {
  const server = createServer((_, response) => response.end('here'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const wire = new Wire(`http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`, 2_000);
  const request = Buffer.from('GET / HTTP/1.1\r\nhost: here\r\n\r\n');
  expect(await wire.send(request, 'GET')).toMatchObject({ status: 200 });
  server.closeIdleConnections();
  // Until the client's socket has told of it, to nobody.
  await delay(100);
  expect(await wire.send(request, 'GET')).toMatchObject({ status: 200 });
  wire.close();
  server.close();
});
