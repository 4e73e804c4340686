import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Containerd, freePort, startContainerd, temporaryDirectory } from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../../..');
const SOON = { timeout: 60_000, interval: 100 };
const MIB = 1024 ** 2;

const running = new AsyncDisposableStack();
let layout: string;
let containerd: Containerd;
let image: string;
/** Which `ctr` leaves out where it is given arguments. */
let entrypoint: string[];

interface Descriptor {
  readonly digest: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

beforeAll(async () => {
  const { path } = running.use(await temporaryDirectory('container-image'));
  layout = join(path, 'image');
  await run(join(ROOT, 'scripts/package-image'), [layout]);
  containerd = running.use(await startContainerd());
  await run('tar', ['--create', '--file', join(path, 'image.tar'), '--directory', layout, '.']);
  await containerd.ctr(['images', 'import', join(path, 'image.tar')]);
  const { manifests } = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')) as {
    manifests: Descriptor[];
  };
  const [named] = manifests;
  image = named?.annotations?.['org.opencontainers.image.ref.name'] ?? '';
  const read = async (digest = '') =>
    JSON.parse(await readFile(join(layout, 'blobs', 'sha256', digest.slice('sha256:'.length)), 'utf8'));
  const { config } = (await read(named?.digest)) as { config: Descriptor };
  ({
    config: { Entrypoint: entrypoint },
  } = (await read(config.digest)) as { config: { Entrypoint: string[] } });
});
afterAll(() => running[Symbol.asyncDispose]());

const mount = (source: string, destination: string, mode: string) =>
  `--mount=type=bind,src=${source},dst=${destination},options=rbind:${mode}`;
const SCRATCH = '--mount=type=tmpfs,dst=/tmp,options=mode=1777';

describe.skipIf(process.getuid?.() !== 0)('the container image (needs root)', () => {
  test('is an OCI layout, small, and says whose it is', async () => {
    const blobs = join(layout, 'blobs', 'sha256');
    const sizes = await Promise.all(
      (await readdir(blobs)).map(async (name) => (await stat(join(blobs, name))).size),
    );
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(120 * MIB);
    expect(image).toMatch(/^drakkar\.dev\/drakkar:\d+\.\d+\.\d+$/);
  });

  test('has the command and the helper, and no shell', async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    const output = await containerd.ctr([
      'run',
      '--rm',
      '--read-only',
      SCRATCH,
      image,
      'says',
      ...entrypoint,
      '--version',
    ]);
    expect(output.trim()).toContain(version);
    const shell = containerd.ctr(['run', '--rm', image, 'shell', '/bin/sh']);
    await expect(shell).rejects.toThrow();
  });

  test('runs a supernode as nobody in particular, with nothing to write but its state', async () => {
    await using directory = await temporaryDirectory('in-a-container');
    const [state, etc] = [join(directory.path, 'state'), join(directory.path, 'etc')];
    for (const path of [state, etc]) await mkdir(path);
    await run('chown', ['65532:65532', state]);
    await run('chmod', ['755', directory.path]);
    const [port, metrics, api] = [await freePort(), await freePort(), await freePort()];
    const config = {
      ...{ stateDirectory: '/var/lib/drakkar', address: '127.0.0.1', port },
      ...{ metrics: { port: metrics }, api: { port: api } },
    };
    await writeFile(join(etc, 'supernode.yaml'), JSON.stringify(config));
    const mounts = [mount(state, '/var/lib/drakkar', 'rw'), mount(etc, '/etc/drakkar', 'ro'), SCRATCH];
    await containerd.ctr([
      ...['run', '--detach', '--net-host', '--read-only', ...mounts, image, 'supernode'],
      ...[...entrypoint, 'supernode', '--config', '/etc/drakkar/supernode.yaml'],
    ]);
    const health = async () =>
      (await fetch(`http://127.0.0.1:${metrics}/healthz`).catch(() => undefined))?.status;
    await expect.poll(health, SOON).toBe(200);
    await containerd.ctr(['tasks', 'kill', '--signal', 'SIGTERM', 'supernode']);
    expect((await stat(join(state, 'keys', 'cluster.pem'))).uid).toBe(65532);
  });
});
