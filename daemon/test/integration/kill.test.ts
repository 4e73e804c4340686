import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type Registry, startRegistry, temporaryDirectory } from '@drakkar/lab';
import { digestOf } from '@drakkar/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createContent, newReceipt } from '../../src/content/index.ts';
import { openStore } from '../../src/store/index.ts';
import { createRegistryClient } from '../../src/upstream/index.ts';
import { HASTY, pushRandomImage, randomBlob } from '../kit/stack.ts';

const MEBIBYTE = 1024 * 1024;
const KILLS = 40;
/** The store is looked into after every so many kills: between them one unclean start follows the other. */
const LOOK_EVERY = 4;
const PROGRAM = fileURLToPath(new URL('../kit/downloader.ts', import.meta.url));

let registry: Registry;
const layers = [700_000, MEBIBYTE, 5 * MEBIBYTE + 3, 9 * MEBIBYTE, 20 * MEBIBYTE].map((size) =>
  randomBlob(size),
);
/** Not all of them at once: something is always being evicted. */
const QUOTA_BYTES = 32 * MEBIBYTE;

beforeAll(async () => {
  registry = await startRegistry();
  using client = createRegistryClient(HASTY);
  await pushRandomImage(client, { registry: registry.host, repository: 'library/thing' }, 'v1', layers);
});
afterAll(() => registry.stop());

/** Kills the process after it has said `lines` things. */
async function runAndKill(directory: string, lines: number): Promise<void> {
  const digests = layers.map(({ digest }) => digest);
  const args = [PROGRAM, directory, String(QUOTA_BYTES), registry.host, 'library/thing', ...digests];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors += chunk;
  });
  let said = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    for (const byte of chunk) if (byte === 10) said += 1;
    if (said >= lines) child.kill('SIGKILL');
  });
  const [, signal] = await once(child, 'exit');
  expect(errors).toBe('');
  expect(signal).toBe('SIGKILL');
}

test('a store whose process is killed at any moment serves no wrong byte and loses no quota', async () => {
  await using home = await temporaryDirectory('kill');
  using client = createRegistryClient(HASTY);
  for (let kill = 1; kill <= KILLS; kill += 1) {
    await runAndKill(home.path, 1 + Math.floor(Math.random() ** 2 * 400));
    if (kill % LOOK_EVERY !== 0) continue;
    await using store = await openStore({ directory: home.path, quotaBytes: QUOTA_BYTES });
    const sum = store.list().reduce((total, { sizeBytes }) => total + sizeBytes, 0);
    expect(store.usage()).toEqual({ quotaBytes: QUOTA_BYTES, contentBytes: sum, reservedBytes: 0 });
    expect(sum).toBeLessThanOrEqual(QUOTA_BYTES);
    for (const { digest } of store.list()) {
      if (store.has(digest)) expect(digestOf(await readFile(store.pathOf(digest)))).toBe(digest);
    }
    await store.verified;
    await using content = createContent({}, { store, client });
    const receipt = newReceipt();
    for (const { digest } of layers) {
      const image = { registry: registry.host, repository: 'library/thing' };
      const parts: Buffer[] = [];
      for await (const part of content.read({ image, digest }, receipt)) parts.push(part);
      expect(digestOf(Buffer.concat(parts))).toBe(digest);
    }
  }
});
