import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { SupernodeClient } from '@drakkar/client';
import { temporaryDirectory } from '@drakkar/lab';
import { expect, test } from 'vitest';
import { startSupernodeIn } from '../kit/cluster.ts';

const MAIN = join(import.meta.dirname, '../../src/main.js');

test('who logs in is told as whom, what they may do, and for how long', async () => {
  await using directory = await temporaryDirectory('login');
  const state = join(directory.path, 'state');
  await using supernode = await startSupernodeIn(state);
  const local = new SupernodeClient({ socketPath: join(state, 'admin.sock') });
  const env = { ...process.env, XDG_CONFIG_HOME: directory.path };
  const login = async (ttlMs: number | null) => {
    const { text } = await local.createToken({ name: 'ci', role: 'operator', ttlMs });
    const tokenFile = join(directory.path, 'token');
    await writeFile(tokenFile, text, { mode: 0o600 });
    const args = [MAIN, 'login', supernode.status().apiUrl, '--token-file', tokenFile];
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { env });
    expect(stdout + stderr).not.toContain(text);
    return stdout;
  };
  expect(await login(null)).toMatch(/ as ci, operator; version /);
  expect(await login(2 * 60 * 60_000)).toMatch(/ as ci, operator for [12] /);
});
