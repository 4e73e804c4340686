import { generateKeyPairSync } from 'node:crypto';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type Edit, framed, mutate } from '@drakkar/lab';
import {
  digestOf,
  encodeBlobName,
  FromDaemonSchema,
  FromSupernodeSchema,
  type PeerId,
  peerIdOf,
  rawOf,
} from '@drakkar/protocol';
import { Channel, type ControlNode, SUPERNODE_PROTOCOL, startNode } from '@drakkar/wire';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Session } from '../../src/control/session.ts';

type Said = NonNullable<MessageInitShape<typeof FromDaemonSchema>['message']>;

const newKey = () => generateKeyPairSync('ed25519').privateKey;
const ENDED_MS = 20_000;
const blob = encodeBlobName({ digest: digestOf('blob'), origin: 'docker.io' });
const cut = { ...blob, table: rawOf(digestOf('table')) };
const other = peerIdOf(newKey());

const HELLO = {
  version: 1,
  name: 'host',
  membership: 'a.b',
  joinSecret: 'secret',
  dataAddress: '10.0.0.1:4403',
  controlAddresses: ['10.0.0.1:4402', '[fe80::1]:4402'],
  labels: { rack: 'a' },
  uploadSlots: 8,
};
const hello: Said = { case: 'hello', value: HELLO };
const long = new Uint8Array(900_000);
const SNAPSHOTS_SAID: readonly Said[] = [
  { case: 'announce', value: { snapshot: { repository: 'docker.io/library/debian', tables: [long] } } },
  { case: 'find', value: { number: 1, repository: 'docker.io/library/debian', root: blob.digest } },
  { case: 'lost', value: { repository: 'docker.io/library/debian', manifest: blob.digest } },
  { case: 'learn', value: { number: 2, layout: blob.digest, startKey: blob.digest } },
  { case: 'reportTrace', value: { layout: blob.digest, startKey: blob.digest } },
];
const SAID: readonly Said[] = [
  hello,
  { case: 'heartbeat', value: { uploads: 3 } },
  { case: 'want', value: { blob, sizeBytes: 3_000_000n, pieces: 3, havePieces: 1 } },
  { case: 'have', value: { blob, sizeBytes: 3_000_000n, pieces: 3, havePieces: 3 } },
  { case: 'want', value: { blob: cut, sizeBytes: 3_000_000n, pieces: 41, havePieces: 1 } },
  { case: 'forget', value: { blob, want: true, have: true } },
  { case: 'report', value: { blob, piece: 2, peer: other } },
  { case: 'useless', value: { blob, peer: other } },
  { case: 'originProgress', value: { blob, bytes: 12n } },
  { case: 'originRelease', value: { blob } },
  {
    case: 'name',
    value: { key: blob.digest, sizeBytes: 7n, digest: new Uint8Array(), readBytes: 0n, givesUp: false },
  },
  { case: 'taskReport', value: { id: 'a task', phase: 'download', doneBytes: 1n } },
  { case: 'firstPull', value: { image: { reference: 'debian:12' }, sizeBytes: 5n } },
];

/** What was called of the supernode, and how each session ended. */
let calls: string[] = [];
let supernode: ControlNode;
let daemon: ControlNode;

beforeAll(async () => {
  supernode = await startNode({ key: newKey(), listen: [{ host: '127.0.0.1', port: 0 }] });
  daemon = await startNode({ key: newKey(), listen: [] });
  const call =
    (name: string) =>
    (...args: unknown[]): void => {
      calls.push(`${name} ${args.length}`);
    };
  const events = {
    enter: () => ({ message: { case: 'welcome' as const, value: { version: 1, heartbeatMs: 1000 } } }),
    traced: (_: unknown, __: unknown, work: () => void) => work(),
    leave: call('leave'),
    heartbeat: call('heartbeat'),
    want: call('want'),
    have: call('have'),
    forget: call('forget'),
    report: call('report'),
    useless: call('useless'),
    originProgress: call('originProgress'),
    originRelease: call('originRelease'),
    name: call('name'),
    tasks: { heard: call('heard'), firstPull: call('firstPull') },
    snapshots: {
      announce: call('announce'),
      find: ({ number }: { number: number }) => ({ message: { case: 'found' as const, value: { number } } }),
      learn: ({ number }: { number: number }) => ({ message: { case: 'found' as const, value: { number } } }),
      lost: call('lost'),
      report: call('report'),
    },
  };
  await supernode.handle(SUPERNODE_PROTOCOL, (stream) => new Session(stream, events).run());
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
  await supernode[Symbol.asyncDispose]();
});
beforeEach(() => {
  calls = [];
});

const encoded = (message: Said): Uint8Array =>
  toBinary(FromDaemonSchema, create(FromDaemonSchema, { message }));

interface Ending {
  readonly answers: string[];
  readonly refusal: { readonly code: string; readonly message: string } | undefined;
}

/** Writes these bytes to a session and nothing after them. @returns what came until the other side had ended it, too */
async function speak(...parts: readonly Uint8Array[]): Promise<Ending> {
  const target = { host: '127.0.0.1', port: supernode.port };
  const signal = AbortSignal.timeout(ENDED_MS);
  const { stream } = await daemon.open(supernode.peer as PeerId, [target], SUPERNODE_PROTOCOL, signal);
  const channel = new Channel(stream, FromDaemonSchema, FromSupernodeSchema);
  const answers: string[] = [];
  let refusal: Ending['refusal'];
  try {
    for (const part of parts) stream.send(part);
    void stream.close().catch(() => {});
    for (;;) {
      const answer = await channel.receive(signal);
      if (answer === undefined) break;
      answers.push(answer.message.case ?? '');
      if (answer.message.case === 'refused') refusal = answer.message.value;
    }
  } catch (error) {
    // It hangs up on who does not.
    if (signal.aborted) throw error;
  }
  return { answers, refusal };
}

const edits = fc.array(
  fc.record<Edit>({
    kind: fc.constantFrom('set', 'insert', 'remove', 'cut'),
    at: fc.nat(4096),
    value: fc.nat(255),
  }),
  { minLength: 1, maxLength: 4 },
);
const mutated = fc
  .tuple(fc.constantFrom(...SAID, ...SNAPSHOTS_SAID.slice(1)), edits)
  .map(([said, all]) => mutate(encoded(said), all));
const noise = fc.uint8Array({ maxLength: 300 });
const CLEAR = ['invalid_argument', 'invalid_content', 'unavailable'];

function requireClear({ refusal }: Ending): void {
  if (refusal === undefined) return;
  expect(CLEAR).toContain(refusal.code);
  expect(refusal.message).not.toBe('');
}

describe('a daemon’s session', () => {
  test('takes every message that there is', async () => {
    const all = Buffer.concat(SAID.map((said) => framed(encoded(said))));
    expect((await speak(all)).answers).toEqual(['welcome']);
    expect(calls).toEqual([
      'heartbeat 2',
      'want 4',
      'have 4',
      'want 4',
      'forget 3',
      'report 4',
      'useless 3',
      'originProgress 3',
      'originRelease 2',
      'name 3',
      'heard 2',
      'firstPull 2',
      'leave 1',
    ]);
  });

  test('takes what is said about snapshots, however long, and answers what is asked', async () => {
    const all = Buffer.concat([hello, ...SNAPSHOTS_SAID].map((said) => framed(encoded(said))));
    expect((await speak(all)).answers).toEqual(['welcome', 'found', 'found']);
    expect(calls).toEqual(['announce 2', 'lost 2', 'report 2', 'leave 1']);
    const tooLong = { snapshot: { tables: [long, long] } };
    const { refusal } = await speak(
      framed(encoded(hello)),
      framed(encoded({ case: 'announce', value: tooLong })),
    );
    expect(refusal?.message).toContain('stream broke');
  });

  test('ends with a clear word, or without one, whatever bytes are sent as messages', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        fc.array(fc.oneof(noise, mutated), { maxLength: 4 }),
        async (greets, all) => {
          const parts = all.map(framed);
          requireClear(await speak(...(greets ? [framed(encoded(hello)), ...parts] : parts)));
        },
      ),
      { numRuns: 150 },
    );
    expect((await speak(framed(encoded(hello)))).answers).toEqual(['welcome']);
  });

  test('ends with a clear word, or without one, whatever the stream is', async () => {
    const stream = fc
      .tuple(fc.constantFrom(...SAID), edits)
      .map(([said, all]) => mutate(framed(encoded(said)), all));
    await fc.assert(
      fc.asyncProperty(fc.oneof(noise, stream), async (bytes) => requireClear(await speak(bytes))),
      { numRuns: 150 },
    );
    expect((await speak(framed(encoded(hello)))).answers).toEqual(['welcome']);
  });

  test.each([
    '',
    'nowhere',
    '999.1.1.1:70000',
    '999.1.1.1:80',
    '/ip4/127.0.0.1/tcp/4001',
    '/ip4/127.0.0.1/tcp/4001/p2p/QmNonsense',
    'javascript:alert(1)',
    `${'a'.repeat(200)}_:80`,
    'a'.repeat(60 * 1024),
    '\0:80',
  ])('begins with addresses, which %j is not', async (address) => {
    for (const wrong of [{ dataAddress: address }, { controlAddresses: ['10.0.0.1:1', address] }]) {
      const { refusal } = await speak(framed(encoded({ case: 'hello', value: { ...HELLO, ...wrong } })));
      expect(refusal).toMatchObject({
        code: 'invalid_argument',
        message: expect.stringContaining('is not an address'),
      });
    }
  });

  test('has bounds for whatever may be said', async () => {
    const many = (count: number) => Array.from({ length: count }, (_, index) => `10.0.0.1:${index + 1}`);
    const want = { blob, sizeBytes: 3_000_000n, pieces: 3, havePieces: 1 };
    const wrong: readonly (readonly [Said, string])[] = [
      [{ case: 'hello', value: { ...HELLO, version: 0 } }, 'version 0'],
      [{ case: 'hello', value: { ...HELLO, name: 'n'.repeat(300) } }, 'name is too long'],
      [{ case: 'hello', value: { ...HELLO, controlAddresses: many(9) } }, 'too many addresses'],
      [{ case: 'hello', value: { ...HELLO, labels: { rack: 'r'.repeat(256) } } }, 'too long labels'],
      [{ case: 'hello', value: { ...HELLO, name: 'n'.repeat(70_000) } }, 'stream broke'],
      [hello, 'second hello'],
      [{ case: 'want', value: { ...want, blob: { digest: new Uint8Array(31), origin: 'o' } } }, 'no blob'],
      [{ case: 'want', value: { ...want, sizeBytes: 2n ** 63n } }, 'is said to have'],
      [{ case: 'want', value: { ...want, sizeBytes: 0n, pieces: 0 } }, 'is said to have'],
      [{ case: 'want', value: { ...want, pieces: 2 ** 32 - 1 } }, 'is said to have'],
      [{ case: 'want', value: { ...want, blob: cut, pieces: 2 ** 32 - 1 } }, 'is said to have'],
      [{ case: 'want', value: { ...want, blob: { ...cut, table: new Uint8Array(3) } } }, 'names no blob'],
      [{ case: 'report', value: { blob, piece: 1, peer: '../../etc/passwd' } }, 'not a peer'],
      [{ case: 'useless', value: { blob, peer: '1'.repeat(50_000) } }, 'not a peer'],
    ];
    for (const [said, why] of wrong) {
      const first = said.case === 'hello' && said !== hello ? [] : [framed(encoded(hello))];
      const { refusal } = await speak(...first, framed(encoded(said)));
      expect(refusal?.message).toContain(why);
    }
  });
});
