import { generateKeyPairSync } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import {
  clusterKeyName,
  digestOf,
  encodeTrace,
  type FoundMessage,
  FromSupernodeSchema,
  rawOf,
  signVoucher,
  verifyVoucher,
} from '@drakkar/protocol';
import { describe, expect, test } from 'vitest';
import { type ClusterSnapshot, ClusterSnapshots } from '../../../src/swarm/index.ts';

const clusterKey = generateKeyPairSync('ed25519').privateKey;
const standing = {
  voucher: (text: string) => verifyVoucher(text, [clusterKeyName(clusterKey)], Date.now()),
};
const repository = { registry: 'docker.io', repository: 'library/app' };
const question = { repository, platform: 'linux/amd64', root: digestOf('root') };
const startKey = digestOf('start');
const { signal } = new AbortController();
const snapshot: ClusterSnapshot = {
  repository,
  platform: 'linux/amd64',
  documents: [Buffer.from('manifest')],
  imageConfig: Buffer.from('config'),
  artifact: Buffer.from('artifact'),
  envelope: Buffer.from('envelope'),
  tables: [Buffer.from('table')],
  pushed: false,
};
const learned = [{ device: 1, offset: 4096, length: 8192 }];
const voucher = signVoucher(
  {
    manifest: digestOf('manifest'),
    platform: 'linux/amd64',
    envelope: digestOf('envelope'),
    builder: 'builder',
    expiresAtMs: Date.now() + 60_000,
  },
  clusterKey,
);

type Found = Extract<
  NonNullable<Parameters<typeof create<typeof FromSupernodeSchema>>[1]>['message'],
  { case: 'found' }
>['value'];

/** A supernode that answers each question with this, or never. */
function asking(answer: Found | undefined, changes: object = {}) {
  const snapshots = new ClusterSnapshots(standing);
  const said: string[] = [];
  snapshots.begin({
    isUp: true,
    knowsSnapshots: true,
    downMs: 0,
    snapshots(_key, message) {
      said.push(message.case);
      if (answer === undefined || !('number' in message.value)) return { isUp: true };
      const value = { ...answer, number: Number(message.value.number) };
      const { message: sent } = create(FromSupernodeSchema, { message: { case: 'found', value } });
      queueMicrotask(() => snapshots.found(sent.value as FoundMessage));
      return { isUp: true };
    },
    ...changes,
  });
  return { snapshots, said };
}

describe('what the cluster knows of snapshots', () => {
  test('is a snapshot, the cluster’s word for its builder, and what starts read', async () => {
    const sent = { ...snapshot, repository: 'docker.io/library/app' };
    const parts = { ...sent, documents: [...snapshot.documents], tables: [...snapshot.tables] };
    const { snapshots } = asking({
      known: true,
      snapshot: parts,
      voucher,
      learned: encodeTrace(learned),
      layout: rawOf(digestOf('meta')),
    });
    const found = await snapshots.find(question, startKey, signal);
    expect(found).toMatchObject({ snapshot, voucher: { builder: 'builder' }, learned });
    expect(await snapshots.layoutOf(question, signal)).toBe(digestOf('meta'));
    const none = asking({ known: false });
    expect(await none.snapshots.layoutOf(question, signal)).toBeNull();
    expect(await snapshots.learned({ layout: digestOf('meta'), startKey }, signal)).toEqual(learned);
  });

  test('is nothing where it says so, or nobody answers in time', async () => {
    for (const { snapshots } of [
      asking({ known: false }),
      asking(undefined),
      asking(undefined, { isUp: false, knowsSnapshots: false, downMs: 60_000 }),
      asking(undefined, { knowsSnapshots: false }),
      { snapshots: new ClusterSnapshots(standing) },
    ]) {
      expect(await snapshots.find(question, startKey, signal)).toBeUndefined();
      expect(await snapshots.learned({ layout: digestOf('meta'), startKey }, signal)).toEqual([]);
    }
  });

  test('is not believed of another cluster’s supernode', async () => {
    const sent = { repository: 'docker.io/library/app' };
    const { snapshots } = asking({ known: true, snapshot: sent, voucher: `${voucher}x` });
    await expect(snapshots.find(question, startKey, signal)).rejects.toMatchObject({ code: 'unauthorized' });
  });

  test('is not told what is too large', () => {
    const { snapshots, said } = asking(undefined);
    expect(snapshots.announce(snapshot)).toBe(true);
    expect(snapshots.announce({ ...snapshot, imageConfig: Buffer.alloc(1024 * 1024) })).toBe(false);
    snapshots.lost(repository, digestOf('manifest'));
    snapshots.reportTrace({ layout: digestOf('meta'), startKey }, learned);
    expect(said).toEqual(['announce', 'lost', 'reportTrace']);
  });

  test('is waited for no longer than whoever asks does', async () => {
    const { snapshots } = asking(undefined);
    const left = AbortSignal.abort(new Error('left'));
    await expect(snapshots.find(question, startKey, left)).rejects.toThrow('left');
  });
});
