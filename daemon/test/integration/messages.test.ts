import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { type Edit, framed, mutate, temporaryDirectory } from '@drakkar/lab';
import {
  clusterKeyName,
  DrakkarError,
  digestOf,
  encodeBlobName,
  FromSupernodeSchema,
  HaveMessageSchema,
  peerIdOf,
  signMembership,
  signSuccession,
} from '@drakkar/protocol';
import { type ControlNode, HAVE_PROTOCOL, SUPERNODE_PROTOCOL, startNode } from '@drakkar/wire';
import fc from 'fast-check';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HaveSession } from '../../src/swarm/have-session.ts';
import { Standing } from '../../src/swarm/standing.ts';
import type { SupernodeAdvice } from '../../src/swarm/supernode-messages.ts';
import { Supernodes, whyDown } from '../../src/swarm/supernodes.ts';

type Told = NonNullable<MessageInitShape<typeof HaveMessageSchema>['message']>;
type Said = NonNullable<MessageInitShape<typeof FromSupernodeSchema>['message']>;

const soon = () => new Promise((resolve) => setTimeout(resolve, 2));
const newKey = () => generateKeyPairSync('ed25519').privateKey;
const PIECES = 8;
const ENDED_MS = 20_000;
const name = { digest: digestOf('blob'), origin: 'docker.io' };

/** `us` is the host that is attacked; `them` is who attacks it. */
let us: ControlNode;
let them: ControlNode;
beforeAll(async () => {
  const listen = [{ host: '127.0.0.1', port: 0 }];
  [us, them] = await Promise.all([
    startNode({ key: newKey(), listen }),
    startNode({ key: newKey(), listen }),
  ]);
});
afterAll(async () => {
  await us[Symbol.asyncDispose]();
  await them[Symbol.asyncDispose]();
});

const edits = fc.array(
  fc.record<Edit>({
    kind: fc.constantFrom('set', 'insert', 'remove', 'cut'),
    at: fc.nat(4096),
    value: fc.nat(255),
  }),
  { minLength: 1, maxLength: 4 },
);
const noise = fc.uint8Array({ maxLength: 300 });
/** Bytes of a stream: nonsense, messages with nonsense in them, and streams of messages that were damaged. */
const streamOf = (messages: readonly Uint8Array[]) =>
  fc.oneof(
    noise,
    fc.tuple(fc.constantFrom(...messages), edits).map(([message, all]) => framed(mutate(message, all))),
    fc.tuple(fc.constantFrom(...messages), edits).map(([message, all]) => mutate(framed(message), all)),
  );

describe('a stream about a blob', () => {
  const encoded = (message: Told) => toBinary(HaveMessageSchema, create(HaveMessageSchema, { message }));
  const open: Told = {
    case: 'open',
    value: {
      version: 1,
      membership: 'a.b',
      ...encodeBlobName(name),
      sizeBytes: 8_000_000n,
      grant: 'c.d',
      dataAddress: '10.0.0.1:4403',
    },
  };
  const pieces = (index: readonly number[], bytes = index.length * 32): Told => ({
    case: 'pieces',
    value: { index: [...index], sha256: new Uint8Array(bytes) },
  });
  const told = [open, pieces([0, 3, 7]), pieces([]), { case: 'choke', value: { choked: true } } as Told];

  /** What a session makes of these bytes. @returns the error that it ended with */
  async function hear(...parts: readonly Uint8Array[]): Promise<DrakkarError | undefined> {
    const ended = Promise.withResolvers<DrakkarError | undefined>();
    const protocol = `${HAVE_PROTOCOL}/${randomBytes(8).toString('hex')}`;
    await us.handle(protocol, async (stream) => {
      const session = new HaveSession(stream);
      try {
        await session.opening();
        session.begin(PIECES, {
          conversations: 1,
          pieces: (_, known) => {
            for (const { piece, sha256 } of known) {
              expect(piece).toBeLessThan(PIECES);
              expect(sha256).toHaveLength(32);
            }
          },
          choked: () => {},
        });
        await session.run();
        ended.resolve(undefined);
      } catch (error) {
        ended.resolve(error as DrakkarError);
      } finally {
        session.close();
      }
    });
    const target = { host: '127.0.0.1', port: us.port };
    const { stream } = await them.open(us.peer, [target], protocol, AbortSignal.timeout(ENDED_MS));
    for (const part of parts) stream.send(part);
    await stream.close();
    return await ended.promise;
  }

  test('is understood, and ends', async () => {
    expect(await hear(...told.map((message) => framed(encoded(message))))).toBeUndefined();
  });

  test('ends with a clear error, whatever its bytes', async () => {
    const bytes = streamOf(told.map(encoded));
    await fc.assert(
      fc.asyncProperty(fc.boolean(), fc.array(bytes, { maxLength: 4 }), async (opens, parts) => {
        const error = await hear(...(opens ? [framed(encoded(open)), ...parts] : parts));
        if (error === undefined) return;
        expect(error).toBeInstanceOf(DrakkarError);
        expect(['invalid_content', 'invalid_argument', 'unavailable', 'not_found']).toContain(error.code);
      }),
      { numRuns: 150 },
    );
  });

  test.each<[string, readonly Told[]]>([
    ['two openings', [open, open]],
    ['pieces before its opening', [pieces([0])]],
    ['a piece beyond the end', [open, pieces([PIECES])]],
    ['the last piece of all', [open, pieces([2 ** 32 - 1])]],
    ['more hashes than pieces', [open, pieces([0], 64)]],
    ['a hash cut short', [open, pieces([0], 31)]],
    ['more pieces than one message holds', [open, pieces(Array.from({ length: 4097 }, () => 0))]],
    ['no digest', [{ case: 'open', value: { ...open.value, digest: new Uint8Array(3) } } as Told]],
    ['a multiaddr', [{ case: 'open', value: { ...open.value, dataAddress: '/ip4/1.2.3.4/tcp/80' } } as Told]],
    [
      'an address that takes long to look at',
      [{ case: 'open', value: { ...open.value, dataAddress: `${'a'.repeat(200)}_:80` } } as Told],
    ],
    ['too much', [{ case: 'open', value: { ...open.value, grant: 'g'.repeat(300_000) } } as Told]],
  ])('with %s is over', async (_, messages) => {
    const error = await hear(...messages.map((message) => framed(encoded(message))));
    expect(['invalid_content', 'invalid_argument']).toContain(error?.code);
  });
});

describe('a supernode that says', () => {
  const encoded = (message: Said) => toBinary(FromSupernodeSchema, create(FromSupernodeSchema, { message }));
  const clusterKey = newKey();
  const nextKey = newKey();
  const other = peerIdOf(newKey());
  const issuedAtMs = Date.now();

  interface Link extends AsyncDisposable {
    readonly link: Supernodes;
    readonly advices: SupernodeAdvice[];
    /** It was up, and is no longer. */
    wasUp(): boolean;
  }

  let script: { readonly answer: readonly Uint8Array[]; readonly hangsUp: boolean };
  beforeAll(() =>
    them.handle(SUPERNODE_PROTOCOL, async ({ stream }) => {
      for (const bytes of script.answer) stream.send(bytes);
      if (script.hangsUp) await stream.close();
    }),
  );

  /** A link to a supernode that answers the hello with these bytes, and hangs up behind them or not. */
  async function linkTo(answer: readonly Uint8Array[], hangsUp: boolean): Promise<Link> {
    await using stack = new AsyncDisposableStack();
    const { path } = stack.use(await temporaryDirectory('link'));
    const key = newKey();
    const node = stack.use(await startNode({ key, listen: [] }));
    script = { answer, hangsUp };
    const log = pino({ level: 'silent' });
    const token = { clusterKey: clusterKeyName(clusterKey), secret: 's'.repeat(24) };
    const standing = await Standing.open(join(path, 'swarm.json'), us.peer, token, log);
    stack.defer(() => standing.saved());
    const advices: SupernodeAdvice[] = [];
    let changes = 0;
    const link = new Supernodes({
      addresses: [{ at: { host: '127.0.0.1', port: them.port }, peer: them.peer }],
      host: {
        name: 'host',
        dataAddress: '127.0.0.1:1',
        controlAddress: '127.0.0.1:1',
        labels: {},
        uploadSlots: 1,
        roles: [],
      },
      node,
      standing,
      joinSecret: token.secret,
      log,
      events: {
        advice: (advice) => advices.push(advice),
        task: () => {},
        cancelTask: () => {},
        revoked: () => {},
        named: () => {},
        found: () => {},
        changed: () => {
          changes += 1;
        },
        complete: () => [],
        figures: () => ({ beat: () => ({ uploads: 0 }), [Symbol.dispose]: () => {} }),
      },
    });
    stack.use(link);
    link.start();
    const running = stack.move();
    return { link, advices, wasUp: () => changes > 1, [Symbol.asyncDispose]: () => running.disposeAsync() };
  }

  const membership = () =>
    signMembership(
      { peer: us.peer, name: 'host', role: 'daemon', issuedAtMs, expiresAtMs: issuedAtMs + 60_000 },
      clusterKey,
    );
  const welcome = (): Said => ({
    case: 'welcome',
    value: { version: 1, membership: membership(), heartbeatMs: 1_000, revoked: [other] },
  });
  const candidate = (peer: string, dataAddress: string, controlAddresses: readonly string[]) => ({
    peer,
    dataAddress,
    controlAddresses: [...controlAddresses],
    complete: true,
  });
  const good = candidate(other, '10.0.0.1:1', ['10.0.0.1:2']);
  const candidates = (...peers: readonly (typeof good)[]): Said => ({
    case: 'candidates',
    value: { blob: encodeBlobName(name), grant: 'a.b', upstream: true, peers: [...peers] },
  });

  test('candidates that cannot be asked: the others are, and the link stays', async () => {
    const wrong = [
      ['/ip4/10.0.0.1/tcp/1', '10.0.0.1:2'],
      ['10.0.0.1:1', '/ip4/10.0.0.1/tcp/1/p2p/QmNonsense'],
      ['999.1.1.1:70000', '10.0.0.1:2'],
      ['javascript:alert(1)', 'javascript:alert(1)'],
      ['', ''],
      ['10.0.0.1:1', 'a'.repeat(64 * 1024)],
      [`${'a'.repeat(200)}_:80`, '10.0.0.1:2'],
    ].map(([data = '', control = '']) => candidate(other, data, [control]));
    const nobody = candidate('../../etc/passwd', '10.0.0.1:1', ['10.0.0.1:2']);
    const messages = [welcome(), candidates(...wrong, nobody, good), candidates(good)];
    await using to = await linkTo(
      messages.map((said) => framed(encoded(said))),
      false,
    );
    while (to.advices.length < 2) await soon();
    expect(to.advices.map((advice) => advice.candidates.map(({ peer }) => peer))).toEqual([[other], [other]]);
    expect(to.link.isUp).toBe(true);
  });

  test('whatever bytes: the link is up or down, and nothing worse', async () => {
    const said: readonly Said[] = [
      candidates(good),
      { case: 'revoked', value: { peers: [other] } },
      {
        case: 'clusterKey',
        value: {
          succession: signSuccession({ key: clusterKeyName(nextKey), issuedAtMs }, clusterKey),
          membership: membership(),
        },
      },
      { case: 'refused', value: { code: 'busy', message: 'no', hint: '' } },
      { case: 'alive', value: {} },
    ];
    const stream = streamOf([welcome(), ...said].map(encoded));
    await fc.assert(
      fc.asyncProperty(fc.boolean(), fc.array(stream, { maxLength: 4 }), async (greets, parts) => {
        await using to = await linkTo(greets ? [framed(encoded(welcome())), ...parts] : parts, true);
        // Who was never up says why; who was has lost nothing but the stream.
        const lastError = () => whyDown(to.link.list());
        while (!to.wasUp() && lastError() === undefined) await soon();
        expect(lastError()?.message).not.toBe('');
      }),
      { numRuns: 60 },
    );
  });
});
