import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  type Image,
  pushImage,
  type Registry,
  sleepFile,
  startRegistry,
  startTokenServer,
  temporaryDirectory,
} from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ClusterNode, CONTAINERDS, startClusterNode } from '../kit/cluster-node.ts';
import { type Host, startHost } from '../kit/drakkar.ts';
import { push, shellImage } from '../kit/image.ts';

const isRoot = process.getuid?.() === 0;
const DATA_BYTES = 16 * 1024 * 1024;
const USER = { username: 'ada', password: 'lovelace' };
const COMMAND = ['/bin/sh', '-c', 'read line < /etc/passwd; echo $line'];
const SAID = 'root:x:0:0:root:/root:/bin/sh\n';
const SOON = { timeout: 30_000, interval: 100 };

/** With much that no start reads. */
const imageOf = (): Image => shellImage({}, [sleepFile(), { name: 'data', data: randomBytes(DATA_BYTES) }]);

describe.skipIf(!isRoot).each(CONTAINERDS)(
  'pulls of a stock containerd $version through mirror and snapshotter (need root)',
  ({ programs }) => {
    const running = new AsyncDisposableStack();
    let registry: Registry;
    let guarded: Registry;
    let builder: Host;
    let node: ClusterNode;

    beforeAll(async () => {
      registry = running.use(await startRegistry());
      const tokens = running.use(
        await startTokenServer({
          users: { [USER.username]: USER.password },
          allows: (user) => user === USER.username,
        }),
      );
      guarded = running.use(await startRegistry({ token: tokens.token }));
      builder = running.use(
        await startHost({ registries: { credentials: [{ registry: guarded.host, ...USER }] } }),
      );
      const { builderPublicKey } = await builder.client.status();
      node = running.use(
        await startClusterNode({
          registry,
          others: [guarded],
          mirror: true,
          programs: await programs(),
          config: {
            containerd: { buildDelayMs: 0 },
            snapshots: { trustedBuilders: [builderPublicKey] },
            volumes: { background: 'off' },
          },
        }),
      );
    });
    afterAll(() => running[Symbol.asyncDispose]());

    async function withSnapshot(name: string, image = imageOf()): Promise<string> {
      const reference = await push(registry, image, name);
      expect(await builder.drakkar('snapshot', 'build', '--push', reference)).toMatchObject({ code: 0 });
      return reference;
    }

    const upstreamBytes = async () => (await node.host.client.status()).traffic.upstreamBytes;
    const layers = async () => (await readdir(join(node.host.directory, 'native', 'layers'))).length;
    /** When containerd has collected what it may. */
    const layersLeft = async () => {
      await node.collect();
      return await layers();
    };
    const snapshotOf = async (image: string) =>
      (await node.host.client.snapshots()).find(({ image: name }) =>
        name.startsWith(image.replace(/:[^:/]*$/, '')),
      );

    test('unpack an image without a snapshot the first time, and not the second time', async () => {
      const image = await push(registry, imageOf(), 'zero-touch');
      await node.inPod({ name: 'zero-touch' }, async (pod) => {
        await node.cri.pull(image);
        expect(await node.cri.run(pod, { name: 'first', image, command: COMMAND })).toBe(SAID);
      });
      await expect.poll(async () => (await snapshotOf(image))?.origin, SOON).toBe('built');
      await node.cri.removeImage(image);
      await expect.poll(layersLeft, SOON).toBe(1);
      await node.inPod({ name: 'zero-touch-again' }, async (pod) => {
        await node.cri.pull(image);
        // The pause image's own, and the pod's.
        expect(await layers()).toBe(2);
        expect(await node.cri.run(pod, { name: 'second', image, command: COMMAND })).toBe(SAID);
      });
      await node.cri.removeImage(image);
    });

    test('take a private image with a pod’s secret, and its snapshot by the same', async () => {
      const image = `${guarded.host}/private:latest`;
      // The laboratory pushes without a name: a registry without a guard on the same disk takes it.
      await using open = await startRegistry({ storageDirectory: join(guarded.directory, 'storage') });
      await pushImage(open.url, imageOf(), { repository: 'private', tag: 'latest' });
      expect(await builder.drakkar('snapshot', 'build', '--push', image)).toMatchObject({ code: 0 });
      await expect(node.cri.pull(image)).rejects.toThrow();
      const before = await upstreamBytes();
      await node.inPod({ name: 'private' }, async (pod) => {
        await node.cri.pull(image, USER);
        expect(await node.cri.run(pod, { name: 'private', image, command: COMMAND })).toBe(SAID);
      });
      expect((await upstreamBytes()) - before).toBeLessThan(DATA_BYTES / 2);
      expect((await snapshotOf(image))?.origin).toBe('registry');
      await node.cri.removeImage(image);
      await expect(node.cri.pull(image)).rejects.toThrow();
    });

    test('take an image by its tag and by its digest, again while it is there, and again when it is gone', async () => {
      const whole = imageOf();
      const tag = await withSnapshot('kinds', whole);
      const digest = `${tag.replace(/:latest$/, '')}@${whole.manifest.digest}`;
      await node.inPod({ name: 'kinds' }, async (pod) => {
        for (const [index, image] of [tag, tag, digest].entries()) {
          // As `imagePullPolicy: IfNotPresent` asks first, and `Always` does not.
          if (index === 0) expect(await node.cri.hasImage(image)).toBe(false);
          await node.cri.pull(image);
          expect(await node.cri.hasImage(image)).toBe(true);
          expect(await node.cri.run(pod, { name: `kind-${index}`, image, command: COMMAND })).toBe(SAID);
        }
        await node.cri.removeImage(tag);
        expect(await node.cri.hasImage(tag)).toBe(false);
        // `Never`.
        await expect(node.cri.startContainer(pod, { name: 'never', image: tag })).rejects.toThrow();
        await node.cri.pull(tag);
        expect(await node.cri.run(pod, { name: 'kind-again', image: tag, command: COMMAND })).toBe(SAID);
      });
      await node.cri.removeImage(tag);
    });

    test('give another namespace what nothing was unpacked of, and its layers where they are asked for', async () => {
      const image = await withSnapshot('namespaces');
      await node.inPod({ name: 'namespaces' }, async (pod) => {
        await node.cri.pull(image);
        expect(await node.cri.run(pod, { name: 'namespaces', image, command: COMMAND })).toBe(SAID);
        const ctr = (...args: string[]) => node.containerd.ctr(['--namespace', 'other', ...args]);
        const give = ['pull', '--containerd', '--containerd-address', node.containerd.address];
        const given = await node.host.drakkar(...give, '--namespace', 'other', image);
        expect(given).toMatchObject({ code: 0 });
        // The pause image's own, and the pod's.
        await expect.poll(layersLeft, SOON).toBe(2);
        const run = ['run', '--rm', '--snapshotter', 'drakkar', image, 'plain', ...COMMAND];
        expect(await ctr(...run)).toBe(SAID);
        await using directory = await temporaryDirectory('export');
        const file = join(directory.path, 'image.tar');
        await expect(ctr('images', 'export', file, image)).rejects.toThrow('not found');
        const whole = await node.host.drakkar(...give, '--layers', '--namespace', 'other', image);
        expect(whole).toMatchObject({ code: 0 });
        await ctr('images', 'export', file, image);
        const { stdout } = await promisify(execFile)('tar', ['-tf', file]);
        expect(stdout.match(/^blobs\/sha256\//gm)?.length).toBeGreaterThan(3);
        await ctr('images', 'rm', '--sync', image);
      });
      await node.cri.removeImage(image);
      await expect.poll(layersLeft, SOON).toBe(1);
    });

    test('start from the layers of what was not unpacked, when the snapshotter is taken out again', async () => {
      const image = await withSnapshot('undone');
      await node.cri.pull(image);
      const pod = await node.cri.runPod({ name: 'goes-on', logDirectory: node.logDirectory });
      const command = ['/bin/sh', '-c', 'while :; do /bin/sleep 1; done'];
      const id = await node.cri.startContainer(pod, { name: 'goes-on', image, command });
      const undo = ['configure', 'containerd', '--undo', '--layers', ...node.containerdFlags];
      const undone = await node.host.drakkar(...undo, '--containerd-address', node.containerd.address);
      expect(undone).toMatchObject({ code: 0 });
      await node.containerd.restart();
      expect(await node.cri.isRunning(id)).toBe(true);
      await node.inPod({ name: 'undone' }, async (other) => {
        expect(await node.cri.run(other, { name: 'undone', image, command: COMMAND })).toBe(SAID);
      });
      await node.cri.removeContainer(id);
      await node.cri.removePod(pod);
      // What was written upon snapshots nobody asks for any more: it goes with the package.
      await rm(join(node.host.directory, 'native', 'layers'), { recursive: true });
    });
  },
);
