import { expect, test } from 'vitest';
import { createAgents } from '../../../src/upstream/agents.ts';
import { completeUpstreamOptions } from '../../../src/upstream/options.ts';
import { exchange } from '../../../src/upstream/transport.ts';

test('a name that a public registry gives and that turns out to be private is refused as such, before anything is sent', async () => {
  const options = completeUpstreamOptions();
  using agents = createAgents(options);
  const url = new URL('http://localhost:1/token?signature=hush');
  const asked = exchange(
    { url, method: 'GET', headers: {}, publicOnly: true, signal: undefined },
    agents,
    options,
  );
  await expect(asked).rejects.toMatchObject({
    code: 'forbidden',
    message: expect.not.stringContaining('hush'),
    hint: expect.stringContaining('registries.allowPrivateRedirects'),
  });
});
