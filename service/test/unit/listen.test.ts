import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { listen } from '../../src/index.ts';

const options = {
  address: '127.0.0.1',
  port: 0,
  what: 'the mirror',
  settings: 'mirror',
  instead: 'set mirror.port to a free port',
};

test('who cannot listen is told why, and which setting to change', async () => {
  await using first = createServer();
  await using second = createServer();
  const port = await listen(first, options);
  expect(port).toBeGreaterThan(0);
  await expect(listen(second, { ...options, port })).rejects.toMatchObject({
    code: 'busy',
    message: `the mirror cannot listen on 127.0.0.1:${port}: the port is in use`,
    hint: 'set mirror.port to a free port',
  });
  await expect(listen(second, { ...options, address: '203.0.113.7' })).rejects.toMatchObject({
    code: 'unavailable',
    message: 'the mirror cannot listen on 203.0.113.7:0: this machine has no such address',
    hint: 'set mirror.address to one of this machine’s',
  });
  expect(await listen(second, options)).toBeGreaterThan(0);
});
