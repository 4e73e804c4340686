import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Owner } from '../../../src/service/contract.ts';
import type { RemoteLayer } from '../../../src/service/metadata.ts';
import { Metadata } from '../../../src/service/metadata.ts';
import { Snapshots } from '../../../src/service/snapshots.ts';

const REF = 'containerd.io/snapshot.ref';
const failing = (code: string) => expect.objectContaining({ code });
let directory: string;
let metadata: Metadata;
let made: string[];
let owners: (Owner | null)[];
let forgotten: string[];
/** What an image is known to have for a layer. */
let remotes: Map<string, RemoteLayer>;
let isHelperAway: boolean;
let epoch: number;
/** What can't be taken away. */
let stuck: string | undefined;

function snapshots(): Snapshots {
  const prepare = async (id: string, parents: readonly string[], owner: Owner | null) => {
    if (isHelperAway) throw new Error('the helper is away');
    made.push(id);
    owners.push(owner);
    return { upperdir: `/l/${id}`, workdir: `/w/${id}`, lowerdirs: parents.map((parent) => `/l/${parent}`) };
  };
  return new Snapshots({
    metadata,
    layers: {
      get epoch() {
        return epoch;
      },
      prepare,
      prepareUpon: async (id, parents, image, owner) => {
        const { lowerdirs, ...own } = await prepare(id, parents, owner);
        return { ...own, lowerdirs: [...lowerdirs, `/volume/${image.image}/${image.layer}`] };
      },
      remove: async (id) => {
        made = made.filter((other) => other !== id);
      },
      discard: async (id) => {
        if (id !== stuck) made = made.filter((other) => other !== id);
      },
      usage: async () => ({ bytes: 1, inodes: 1 }),
      list: async () => made,
    },
    images: {
      find: async (labels) => remotes.get(labels[REF] ?? ''),
      forget: async ({ image }) => {
        forgotten.push(image);
        return !isHelperAway;
      },
    },
  });
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'drakkar-snapshots-'));
  metadata = new Metadata(join(directory, 'snapshots.sqlite'));
  [made, owners, forgotten, remotes, isHelperAway, epoch] = [[], [], [], new Map(), false, 1];
  stuck = undefined;
});
afterEach(() => {
  metadata[Symbol.dispose]();
  rmSync(directory, { recursive: true });
});

const layersOf = (image: string, ...refs: string[]) => {
  for (const [layer, ref] of refs.entries())
    remotes.set(ref, { image, manifestDigest: `sha256:${image}`, layer, layers: refs.length });
};
const unpack = (service: Snapshots, ref: string, parent: string, namespace = 1) =>
  service.prepare({ name: `n/${namespace}/extract ${ref}`, parent, labels: { [REF]: ref } });

describe('a snapshotter', () => {
  test('knows layers of an image that has a snapshot, under the name and the parent that were asked for', async () => {
    layersOf('a', 'one', 'two');
    const service = snapshots();
    await expect(unpack(service, 'one', '')).rejects.toThrow(failing('already_exists'));
    await expect(unpack(service, 'two', 'one')).rejects.toThrow(failing('already_exists'));
    expect(made).toEqual([]);
    const [mount] = await service.prepare({ name: 'container', parent: 'two', labels: {} });
    expect(mount?.options).toContain('lowerdir=/volume/a/1');
  });

  test('has such a layer for each namespace upon its own parent', async () => {
    const service = snapshots();
    await unpack(service, 'one', '');
    await service.commit('n/1/extract one', { name: 'n/1/one', parent: '', labels: {} });
    layersOf('a', 'one', 'two');
    await expect(unpack(service, 'two', 'n/1/one')).rejects.toThrow(failing('already_exists'));
    await expect(unpack(service, 'one', '', 2)).rejects.toThrow(failing('already_exists'));
    await expect(unpack(service, 'two', 'one', 2)).rejects.toThrow(failing('already_exists'));
    for (const parent of ['n/1/one', 'one']) {
      const found = service.list([`labels."${REF}"==two,parent==${JSON.stringify(parent)}`]);
      expect(found).toHaveLength(1);
      const name = found[0]?.name ?? '';
      expect(await service.prepare({ name: `container ${parent}`, parent: name, labels: {} })).toHaveLength(
        1,
      );
    }
  });

  test('forgets an image when its uppermost layer goes, though others stand upon the lower ones', async () => {
    layersOf('a', 'one', 'two');
    const service = snapshots();
    await unpack(service, 'one', '').catch(() => {});
    await unpack(service, 'two', 'one').catch(() => {});
    await service.prepare({ name: 'other', parent: 'one', labels: {} });
    isHelperAway = true;
    await service.remove('two');
    expect(forgotten).toEqual(['a']);
    isHelperAway = false;
    await service.cleanup();
    await service.cleanup();
    expect(forgotten).toEqual(['a', 'a']);
  });

  test('leaves no record of what could not be made, and none of another’s', async () => {
    const service = snapshots();
    isHelperAway = true;
    await expect(service.prepare({ name: 'a', parent: '', labels: {} })).rejects.toThrow(
      'the helper is away',
    );
    expect(service.list([])).toEqual([]);
  });

  test('maps ids for a user namespace, whose root owns what is written', async () => {
    const service = snapshots();
    const labels = {
      'containerd.io/snapshot/uidmapping': '0:100000:65536',
      'containerd.io/snapshot/gidmapping': '1:5:1,0:200000:65536',
    };
    layersOf('a', 'one');
    await unpack(service, 'one', '').catch(() => {});
    const mounts = await service.prepare({ name: 'pod', parent: 'one', labels });
    expect(mounts[0]?.options).toEqual(
      expect.arrayContaining(['uidmap=0:100000:65536', 'gidmap=1:5:1,0:200000:65536']),
    );
    expect(owners).toEqual([{ uid: 100_000, gid: 200_000 }]);
  });

  test('maps no ids of a layer that is unpacked, though its image says so', async () => {
    const service = snapshots();
    const labels = { [REF]: 'one', 'containerd.io/snapshot/uidmapping': '0:1000:1' };
    const [mount] = await service.prepare({ name: 'layer', parent: '', labels });
    expect([mount?.options, owners]).toEqual([['rw', 'rbind'], [null]]);
  });

  test.each(['', '0', '0:1', '0:1:0', '1:2:3', 'a:b:c', '0:4294967295:1', '0:1:2,', '0:1:99999999999'])(
    'refuses what is no map of ids: %j',
    async (map) => {
      const service = snapshots();
      const labels = { 'containerd.io/snapshot/uidmapping': map };
      await expect(service.prepare({ name: 'pod', parent: '', labels })).rejects.toThrow(
        failing('invalid_argument'),
      );
      expect(service.list([])).toEqual([]);
    },
  );

  test('keeps what deletes something below for a layer that is unpacked beside those', async () => {
    const service = snapshots();
    const labels = { [REF]: 'two', 'containerd.io/snapshot/parent-chain-id': 'one' };
    const diffId = { 'containerd.io/snapshot/diff-id': 'x' };
    const types = async (name: string, all: Record<string, string>) =>
      (await service.prepare({ name, parent: '', labels: all })).map(({ type }) => type);
    expect(await types('upper', { ...labels, ...diffId })).toEqual(['overlay']);
    expect(await types('lowest', { [REF]: 'one', ...diffId })).toEqual(['bind']);
    expect(await types('of an older one, which does not say', { [REF]: 'three' })).toEqual(['bind']);
    expect(await types('other', {})).toEqual(['bind']);
    await service.commit('lowest', { name: 'one', parent: '', labels: {} });
    await service.commit('upper', { name: 'two', parent: 'one', labels: {} });
    const [mount] = await service.prepare({ name: 'container', parent: 'two', labels: {} });
    expect(mount?.options).toContain('lowerdir=/l/1:/l/2');
  });

  test('prepares once what is asked for often, and again after a helper came anew or a snapshot was committed', async () => {
    const service = snapshots();
    const mounts = await service.prepare({ name: 'a', parent: '', labels: {} });
    expect(await service.mounts('a')).toEqual(mounts);
    expect(made).toEqual(['1']);
    epoch = 2;
    expect(await service.mounts('a')).toEqual(mounts);
    expect(made).toEqual(['1', '1']);
    await service.commit('a', { name: 'b', parent: '', labels: {} });
    await expect(service.mounts('b')).rejects.toThrow(failing('busy'));
    await service.remove('b');
    await expect(service.mounts('b')).rejects.toThrow(failing('not_found'));
  });

  test('gives no number that directories have which records that were lost have left, and goes on where those can’t be taken away', async () => {
    made.push('1', '7');
    stuck = '7';
    const service = snapshots();
    await service.prepare({ name: 'a', parent: '', labels: {} });
    expect(service.stat('a').id).toBe(8);
    await service.cleanup();
    expect(made).toEqual(['7', '8']);
    await service.prepare({ name: 'b', parent: '', labels: {} });
    expect(service.stat('b').id).toBe(9);
  });

  test('takes away what belongs to nobody', async () => {
    const service = snapshots();
    await service.prepare({ name: 'a', parent: '', labels: {} });
    made.push('77');
    await service.cleanup();
    expect(made).toEqual([`${service.stat('a').id}`]);
  });
});
