import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { type ApiPlace, serveApi } from '../../src/api/index.ts';

test('a request whose body comes too slowly is ended', async () => {
  await using directory = await temporaryDirectory('slow');
  const places: ApiPlace[] = [];
  await using _ = await serveApi(
    {
      ...{ address: '127.0.0.1', port: 0, tls: 'off', keys: join(directory.path, 'keys') },
      ...{ socketPath: join(directory.path, 'admin.sock'), requestMs: 500 },
    },
    {
      handler: (request) => request.resume(),
      onPlace: (place) => places.push(place),
      log: pino({ level: 'silent' }),
    },
  );
  const socket = connect({ port: Number(new URL(places[0]?.url ?? '').port), host: '127.0.0.1' });
  socket.write('POST /api/v1/jobs HTTP/1.1\r\nhost: here\r\ncontent-length: 1000\r\n\r\n');
  const dripping = setInterval(() => socket.write('x'), 50);
  const [answer] = await once(socket.setEncoding('latin1'), 'data');
  clearInterval(dripping);
  socket.destroy();
  expect(answer).toMatch(/^HTTP\/1\.1 408 /);
});
