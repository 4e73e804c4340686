import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import { type Digest, DrakkarError, digestOf } from '@drakkar/protocol';
import { expect, test, vi } from 'vitest';
import { Catalogue } from '../../../src/snapshots/catalogue.ts';
import { Images } from '../../../src/snapshots/images.ts';
import type { Registry } from '../../../src/snapshots/modules.ts';
import { Work } from '../../../src/snapshots/work.ts';
import { openStore } from '../../../src/store/index.ts';

const HOUR_MS = 3_600_000;

test('with the registry away a tag means what it meant when it was last asked, for the configured time', async () => {
  await using directory = await temporaryDirectory('images');
  await using store = await openStore({ directory: directory.path });
  using catalogue = new Catalogue(join(directory.path, 'snapshots.sqlite'));
  let answer: () => Digest = () => digestOf('v1');
  const registry = {
    resolve: async () => ({ digest: answer(), mediaType: 'application/json', sizeBytes: 2 }),
  } as unknown as Registry;
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const images = new Images({ tagMaxAgeMs: HOUR_MS }, { registry, catalogue, store, log });
  const meaning = async () => (await images.resolve('example.com/app:1', undefined, new Work())).rootDigest;
  const away = () => {
    throw new DrakkarError('unavailable', 'away');
  };

  vi.useFakeTimers({ toFake: ['Date'] });
  try {
    await meaning();
    answer = () => digestOf('v2');
    await meaning();
    answer = () => digestOf('v1');
    await meaning();
    vi.advanceTimersByTime(HOUR_MS);
    answer = away;
    expect(await meaning()).toBe(digestOf('v1'));
    vi.advanceTimersByTime(1);
    await expect(meaning()).rejects.toMatchObject({ code: 'unavailable' });
    answer = () => {
      throw new DrakkarError('not_found', 'deleted');
    };
    await expect(meaning()).rejects.toMatchObject({ code: 'not_found' });
  } finally {
    vi.useRealTimers();
  }
});
