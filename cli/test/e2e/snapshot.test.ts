import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compareTrees, listTree, type Registry, startRegistry } from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Host, startHost } from '../kit/drakkar.ts';
import { push, shellImage } from '../kit/image.ts';

const isRoot = process.getuid?.() === 0;

describe.skipIf(!isRoot)('drakkar snapshot (needs root)', () => {
  let registry: Registry;
  let host: Host;
  let image: string;

  beforeAll(async () => {
    registry = await startRegistry();
    host = await startHost();
    image = await push(registry, shellImage(), 'shell');
    expect(await host.drakkar('snapshot', 'build', image)).toMatchObject({ code: 0 });
  });

  afterAll(async () => {
    await host?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });

  const json = async (...args: string[]) => {
    const { code, stdout, stderr } = await host.drakkar('--json', ...args);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    return stdout === '' ? undefined : JSON.parse(stdout);
  };

  test('ls, inspect and blobs show what is here', async () => {
    const listed = await json('snapshot', 'ls');
    expect(listed).toMatchObject({ image, origin: 'built', offlineReady: true, path: null });
    const detail = await json('snapshot', 'inspect', listed.manifestDigest.slice(7, 15));
    expect(detail.config.manifestDigest).toBe(listed.manifestDigest);
    expect((await host.drakkar('snapshot', 'ls')).stdout).toMatch(/MANIFEST.*\n[0-9a-f]{12} .*offline-ready/);
    const blobs = (await host.drakkar('--json', 'blobs')).stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(blobs.map(({ digest }) => digest)).toContain(detail.config.meta.rawDigest);
    expect(blobs.every(({ complete }) => complete)).toBe(true);
  });

  test('mount gives a read-only tree; umount takes it away; what is busy says so', async () => {
    const { path } = await json('snapshot', 'mount', image);
    expect(statSync(join(path, 'bin/dash')).size).toBe(statSync('/bin/dash').size);
    expect(() => writeFileSync(join(path, 'x'), '')).toThrow(/EROFS/);
    const busy = execFileSync(
      'sh',
      ['-c', `cd ${path} && "$0" "$@" || true`, ...host.command('--json', 'snapshot', 'umount', image)],
      { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
    );
    expect(JSON.parse(busy).error).toMatchObject({ code: 'busy' });
    expect((await host.drakkar('snapshot', 'rm', image)).code).toBe(8);
    await json('snapshot', 'umount', image);
    expect(existsSync(path)).toBe(false);
  });

  test('a flat export is the same tree through an ordinary loop mount', async () => {
    const { path } = await json('snapshot', 'mount', image);
    const output = join(host.directory, 'flat.erofs');
    const mountPoint = join(host.directory, 'flat');
    expect(await json('snapshot', 'export', '--flat', '-o', output, image)).toMatchObject({ path: output });
    execFileSync('fsck.erofs', [output]);
    mkdirSync(mountPoint);
    execFileSync('mount', ['-t', 'erofs', '-o', 'loop,ro', output, mountPoint]);
    try {
      expect(compareTrees(await listTree(mountPoint), await listTree(path))).toEqual([]);
    } finally {
      execFileSync('umount', [mountPoint]);
      await json('snapshot', 'umount', image);
    }
    expect((await host.drakkar('snapshot', 'export', '--flat', '-o', output, image)).code).toBe(8);
  });

  test('verify reads everything, and finds a changed byte', async () => {
    expect((await json('snapshot', 'verify', image)).verifiedBytes).toBeGreaterThan(0);
    const other = await push(
      registry,
      shellImage({}, [{ name: 'other', data: Buffer.alloc(100_000, 'x') }]),
      'damaged',
    );
    const { config } = await host.client
      .buildSnapshot({ image: other })
      .then(({ manifestDigest }) => host.client.snapshot(manifestDigest));
    const device = config.devices.at(-1)?.rawDigest.slice(7) ?? '';
    execFileSync('sh', [
      '-c',
      `printf X | dd of=${join(host.state, 'volumes', device)} bs=1 seek=50 conv=notrunc 2>/dev/null`,
    ]);
    const verified = await host.drakkar('snapshot', 'verify', other);
    expect(verified.code).toBe(6);
    expect(verified.stderr).toMatch(/is damaged/);
    expect((await host.drakkar('snapshot', 'rm', other)).code).toBe(0);
  });

  test('a pushed snapshot is found by a second, empty host that trusts its builder, and by no other', async () => {
    const pushed = await json('snapshot', 'build', '--push', image);
    expect(pushed).toMatchObject({ found: 'here', pushed: true });
    const { builderPublicKey } = await host.client.status();
    await using trusting = await startHost({ snapshots: { trustedBuilders: [builderPublicKey] } });
    const found = await trusting.client.buildSnapshot({ image });
    expect(found).toMatchObject({
      found: 'registry',
      artifactDigest: pushed.artifactDigest,
      signer: builderPublicKey,
    });
    const [here, there] = [
      await host.client.mountSnapshot(image),
      await trusting.client.mountSnapshot(image),
    ];
    expect(compareTrees(await listTree(there.path), await listTree(here.path))).toEqual([]);
    await host.client.umountSnapshot(image);
    await using wary = await startHost();
    expect(await wary.client.buildSnapshot({ image })).toMatchObject({ found: 'built' });
  });

  test('the same image gives the same snapshot on every host', async () => {
    await using other = await startHost({ snapshots: { useRegistry: false } });
    const { manifestDigest } = await other.client.buildSnapshot({ image });
    const [here, there] = await Promise.all([
      host.client.snapshot(manifestDigest),
      other.client.snapshot(manifestDigest),
    ]);
    expect(there.config).toEqual(here.config);
  });

  test('with the registry away a known tag still starts, and an unknown one says why not', async () => {
    await using temporary = await startRegistry();
    const here = await push(temporary, shellImage({}, [{ name: 'away', data: 'x' }]), 'away');
    await host.client.buildSnapshot({ image: here });
    await temporary.stop();
    expect(await host.drakkar('run', '--net', 'none', here)).toMatchObject({ code: 0, stdout: 'ready\n' });
    const unknown = await host.drakkar('snapshot', 'build', `${temporary.host}/never/seen`);
    expect(unknown.code).toBe(5);
  });

  test('a snapshot whose raw files were evicted comes back from its blobs, without the registry', async () => {
    await using temporary = await startRegistry();
    const here = await push(
      temporary,
      shellImage({}, [{ name: 'evicted', data: Buffer.alloc(300_000, 'e') }]),
      'evicted',
    );
    const { manifestDigest } = await host.client.buildSnapshot({ image: here });
    const { config } = await host.client.snapshot(manifestDigest);
    await temporary.stop();
    await host.kill('daemon');
    rmSync(join(host.state, 'volumes', config.devices.at(-1)?.rawDigest.slice(7) ?? ''));
    await host.start();
    expect(await host.client.snapshot(manifestDigest)).toMatchObject({ offlineReady: false });
    expect(await host.drakkar('run', '--net', 'none', here)).toMatchObject({ code: 0, stdout: 'ready\n' });
    const isReady = async () => (await host.client.snapshot(manifestDigest)).offlineReady;
    await expect.poll(isReady, { timeout: 30_000 }).toBe(true);
    expect((await json('snapshot', 'verify', manifestDigest)).verifiedBytes).toBeGreaterThan(0);
  });

  test('a daemon that is an ordinary user builds, mounts, runs and exports', async () => {
    const nobody = 65_534;
    await using other = await startHost({ snapshots: { useRegistry: false } }, { uid: nobody });
    expect(await other.client.status()).toMatchObject({ uid: nobody, nativeError: null });
    expect(readFileSync(`/proc/${other.daemonPid}/status`, 'utf8')).toMatch(
      /^CapEff:\s+000000000000000[04]$/m,
    );
    expect(await other.drakkar('run', '--net', 'none', image)).toMatchObject({ code: 0, stdout: 'ready\n' });
    expect(await other.drakkar('snapshot', 'mount', image)).toMatchObject({ code: 0 });
    const { manifestDigest } = (await other.client.snapshots())[0] ?? {};
    expect(statSync(join(other.state, 'snapshots.sqlite')).uid).toBe(nobody);
    const flat = join(other.directory, 'flat.erofs');
    expect(
      await other.drakkar('snapshot', 'export', '--flat', '-o', flat, manifestDigest ?? ''),
    ).toMatchObject({ code: 0 });
  });

  test('rm removes its files and nothing that others use', async () => {
    const other = await push(registry, shellImage({}, [{ name: 'shared', data: 'x' }]), 'shared');
    const { manifestDigest } = await host.client.buildSnapshot({ image: other });
    const volumes = () => readdirSync(join(host.state, 'volumes')).length;
    const before = volumes();
    expect((await host.drakkar('snapshot', 'rm', manifestDigest)).code).toBe(0);
    expect(volumes()).toBeLessThan(before);
    expect((await json('snapshot', 'verify', image)).verifiedBytes).toBeGreaterThan(0);
    expect((await host.drakkar('snapshot', 'inspect', manifestDigest)).code).toBe(3);
  });

  test('a new version starts from the devices of the one before, also when that one is removed', async () => {
    const versions = ['one', 'two'].map((data) => shellImage({}, [{ name: 'version', data }]));
    const built: string[] = [];
    for (const version of versions) {
      const { manifestDigest } = await host.client.buildSnapshot({
        image: await push(registry, version, 'update'),
      });
      built.push(manifestDigest);
    }
    const [first, second] = await Promise.all(built.map((digest) => host.client.snapshot(digest)));
    expect(second?.config.devices[0]).toEqual(first?.config.devices[0]);
    expect((await host.drakkar('snapshot', 'rm', built[0] ?? '')).code).toBe(0);
    const digest = built[1] ?? '';
    const name = `${registry.host}/update@${digest}`;
    expect(
      await host.drakkar('run', '--net', 'none', name, '--', '/bin/sh', '-c', 'read v < /version; echo $v'),
    ).toMatchObject({ code: 0, stdout: 'two\n' });
    await using alone = await startHost({ snapshots: { buildUponEarlier: false } });
    await alone.client.buildSnapshot({ image: name });
    const [here, there] = [await host.client.mountSnapshot(digest), await alone.client.mountSnapshot(digest)];
    expect(compareTrees(await listTree(here.path), await listTree(there.path))).toEqual([]);
    await host.client.umountSnapshot(digest);
  });

  test('pull puts an image into the store, once', async () => {
    const first = await json('pull', image);
    expect(first).toMatchObject({ layers: 2 });
    const again = await json('pull', image);
    expect(again.receipt.upstreamBytes).toBe(0);
  });
});
