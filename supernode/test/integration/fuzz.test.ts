import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { SupernodeClient } from '@drakkar/client';
import { schemathesis, temporaryDirectory } from '@drakkar/lab';
import { expect, test } from 'vitest';
import { startSupernode, supernodeConfiguration } from '../../src/index.ts';

const run = promisify(execFile);
/** What each operation is asked, beside what its schema's edges make. */
const EXAMPLES = '20';

test('whatever is asked of the API, in the words of its own description, it is no mistake of the supernode’s', async () => {
  await using directory = await temporaryDirectory('fuzz');
  const config = supernodeConfiguration.complete({
    stateDirectory: directory.path,
    address: '127.0.0.1',
    port: 0,
    metrics: { port: 0 },
    api: { port: 0, requestsPerMinute: 1_000_000 },
    log: { level: 'error' },
  });
  await using supernode = await startSupernode(config);
  const client = new SupernodeClient({ socketPath: join(directory.path, 'admin.sock') });
  const { text } = await client.createToken({ name: 'fuzz', role: 'admin' });
  const { apiUrl } = supernode.status();
  const [program, ...words] = await schemathesis();
  const { stdout } = await run(
    program,
    [
      ...words,
      ...['run', `${apiUrl}/api/docs/json`, '--header', `Authorization: Bearer ${text}`],
      ...[
        '--checks',
        'not_a_server_error',
        '--max-examples',
        EXAMPLES,
        '--phases',
        'coverage,fuzzing,stateful',
      ],
      // An event stream has no end, and a token that is revoked asks nothing more.
      ...['--exclude-path', '/api/v1/events', '--exclude-path', '/api/v1/tokens/{id}'],
    ],
    { cwd: directory.path, maxBuffer: 64 * 1024 * 1024 },
  ).catch((error: { stdout: string }) => Promise.reject(new Error(error.stdout.slice(-4_000))));
  expect(stdout).toMatch(/(\d+) generated, \1 passed/);
  expect((await client.status()).peer).toBe(supernode.status().peer);
});
