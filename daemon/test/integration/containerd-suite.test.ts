import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { nativeHelper } from '@drakkar/daemon';
import { buildContainerdSuite } from '@drakkar/lab';
import { Metadata, Snapshots, serveSnapshots } from '@drakkar/snapshotter';
import { describe, expect, test } from 'vitest';
import { NativeLayers } from '../../src/containerd/layers.ts';
import { lazyHost } from '../kit/lazy-host.ts';

const run = promisify(execFile);
const isRoot = process.getuid?.() === 0;
const CASES = 21;

describe.skipIf(!isRoot)('containerd’s own tests of a snapshotter (need root)', () => {
  test('pass', { timeout: 30 * 60_000 }, async () => {
    const program = await buildContainerdSuite();
    await using host = await lazyHost();
    await using _ = await host.start();
    await using helper = nativeHelper(host.socket);
    using metadata = new Metadata(join(host.content, 'snapshots.sqlite'));
    const layers = new NativeLayers(
      { quick: helper, slow: helper },
      { changes: 0, mount: () => Promise.reject(new Error('there are no images')) },
      console,
    );
    const snapshots = new Snapshots({
      metadata,
      layers,
      images: { find: async () => undefined, forget: async () => true },
    });
    const socket = `${host.socket}.snapshotter`;
    await using _server = await serveSnapshots(socket, snapshots, {
      run: (_, __, answer) => answer(),
      failed: (call, error) => console.error(call, error),
    });
    const env = { ...process.env, DRAKKAR_SNAPSHOTTER: socket };
    const { stdout } = await run(program, ['-test.v'], { env, maxBuffer: 64 * 1024 * 1024 });
    expect(stdout.match(/^ {4}--- PASS/gm)).toHaveLength(CASES);
    for (const { name } of metadata.list().reverse()) await snapshots.remove(name);
    expect(await helper.layers()).toEqual([]);
  });
});
