import { type Digest, DrakkarError, digestOf } from '@drakkar/protocol';
import { beforeEach, describe, expect, test } from 'vitest';
import { RemoteImages } from '../../../src/containerd/images.ts';

const CHAIN = ['one', 'two', 'three'].map((name) => digestOf(Buffer.from(name)));
const MANIFEST = digestOf(Buffer.from('manifest'));
const IMAGE = `example.com/app@${MANIFEST}`;
const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

const labelsOf = (chainId: string, image = 'example.com/app:1', manifest: string = MANIFEST) => ({
  'containerd.io/snapshot.ref': chainId,
  'containerd.io/snapshot/cri.image-ref': image,
  'containerd.io/snapshot/cri.manifest-digest': manifest,
});

let asked: [image: string, mayBuild: boolean][];
let answer: () => Promise<readonly Digest[]>;
let isKnown: boolean;
let isBusy: boolean;
let pulled: string[];
let images: RemoteImages;

beforeEach(() => {
  [asked, pulled, isKnown, isBusy] = [[], [], false, false];
  answer = async () => CHAIN;
  images = new RemoteImages(
    {
      isKnown: () => isKnown,
      chainIds: async (image, mayBuild) => {
        asked.push([image, mayBuild]);
        return await answer();
      },
      umountImage: async () => {
        if (isBusy) throw new DrakkarError('busy', 'somebody reads it');
      },
    },
    { add: (image) => void pulled.push(image) },
    log,
  );
});

describe('images that need not be unpacked', () => {
  test('are asked for once for all of their layers, by their manifest', async () => {
    for (const [layer, chainId] of CHAIN.entries()) {
      const found = await images.find(labelsOf(chainId), false);
      expect(found).toEqual({ image: IMAGE, manifestDigest: MANIFEST, layer, layers: 3 });
    }
    expect(asked).toEqual([[IMAGE, false]]);
  });

  test.each([
    ['says nothing', {}],
    ['names no image', { ...labelsOf('one'), 'containerd.io/snapshot/cri.image-ref': '' }],
    ['names none that can be', labelsOf('one', 'example.com/UPPER:1')],
    ['names no manifest', labelsOf('one', undefined, 'latest')],
    ['asks for no layer of it', labelsOf(digestOf(Buffer.from('four')))],
    ['asks for one that is called as nothing', labelsOf('__proto__')],
  ])('are none where who pulls %s', async (_, labels) => {
    expect(await images.find(labels, false)).toBeUndefined();
  });

  test('are looked for again once their snapshot is here, and are told to whoever makes it', async () => {
    answer = async () => {
      throw new DrakkarError('not_found', 'none');
    };
    const [first = MANIFEST] = CHAIN;
    for (let layer = 0; layer < 2; layer += 1)
      expect(await images.find(labelsOf(first), false)).toBeUndefined();
    expect([asked.length, pulled]).toEqual([1, [IMAGE]]);
    answer = async () => CHAIN;
    isKnown = true;
    expect(await images.find(labelsOf(first), false)).toBeDefined();
  });

  test('are asked for again at once where that failed, and are unpacked meanwhile', async () => {
    answer = async () => {
      throw new DrakkarError('unavailable', 'away');
    };
    const [first = MANIFEST] = CHAIN;
    expect(await images.find(labelsOf(first), false)).toBeUndefined();
    answer = async () => CHAIN;
    expect(await images.find(labelsOf(first), false)).toBeDefined();
    expect(pulled).toEqual([]);
  });

  test('are forgotten when nothing of them is in use', async () => {
    const [first = MANIFEST] = CHAIN;
    const found = await images.find(labelsOf(first), false);
    if (found === undefined) throw new Error('there is one');
    isBusy = true;
    expect(await images.forget(found)).toBe(false);
    isBusy = false;
    expect(await images.forget(found)).toBe(true);
    await images.find(labelsOf(first), true);
    expect(asked).toEqual([
      [IMAGE, false],
      [IMAGE, true],
    ]);
  });
});
