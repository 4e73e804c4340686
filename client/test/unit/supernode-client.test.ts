import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { pagesOf } from '../../src/supernode-api.ts';
import { SupernodeClient } from '../../src/supernode-client.ts';

test('a list that does not end is an error', async () => {
  let asked = 0;
  const pages = pagesOf(async () => ({ items: [asked], next: asked++ % 2 === 0 ? 'a' : 'b' }));
  await expect(Array.fromAsync(pages)).rejects.toMatchObject({ code: 'unavailable' });
  expect(asked).toBe(3);
});

test('a job whose request had no answer is asked for once more, and is the same one', async () => {
  const requests: unknown[] = [];
  await using server = createServer(async (request, response) => {
    requests.push(JSON.parse(await text(request)));
    if (requests.length === 1) return request.socket.destroy();
    response.setHeader('content-type', 'application/json').end('{"id":"1"}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = new SupernodeClient({ url: `http://127.0.0.1:${port}`, token: 't' });
  expect(await client.createJob({ kind: 'build', image: 'app:1' })).toEqual({ id: '1' });
  expect(requests).toHaveLength(2);
  expect(requests[0]).toEqual(requests[1]);
  expect(requests[0]).toMatchObject({ requestId: expect.stringMatching(/^[\w-]{36}$/) });
  server.closeAllConnections();
});
