import { type Digest, digestOf, type PeerId, peerIdFromRaw } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type NameAnswer, Names } from '../../src/index.ts';

const peer = (number: number): PeerId => {
  const raw = Buffer.alloc(32);
  raw.writeUInt32BE(number);
  return peerIdFromRaw(raw);
};
const KEY = digestOf('name');
const MEANING = { digest: digestOf('content'), sizeBytes: 100 };
const SIZE = 100;

const told = (answers: readonly NameAnswer[]) => answers.map(({ to, meaning }) => [to, meaning]);

describe('names', () => {
  test('let the first that asks find out, and tell the others when it knows', () => {
    const names = new Names();
    expect(told(names.ask(peer(1), KEY, SIZE, 0))).toEqual([[peer(1), 'yours']]);
    expect(told(names.ask(peer(2), KEY, SIZE, 1))).toEqual([[peer(2), 'wait']]);
    expect(told(names.tell(peer(1), KEY, MEANING))).toEqual([[peer(2), MEANING]]);
    expect(told(names.ask(peer(3), KEY, SIZE, 2))).toEqual([[peer(3), MEANING]]);
  });

  test.each([
    ['gives up', (names: Names) => names.giveUp(peer(1), KEY, 10)],
    ['leaves', (names: Names) => names.leave(peer(1), 10)],
    ['makes no progress', (names: Names) => names.expire(10_000)],
  ])('let the next find out when the first %s', (_, end) => {
    const names = new Names();
    names.ask(peer(1), KEY, SIZE, 0);
    names.ask(peer(2), KEY, SIZE, 0);
    expect(told(end(names))).toEqual([[peer(2), 'yours']]);
    // The first may come to know all the same.
    expect(told(names.tell(peer(1), KEY, MEANING))).toEqual([[peer(2), MEANING]]);
  });

  test('leave who makes progress alone, but not one that trickles for ever', () => {
    const names = new Names({ bytesPerSecond: 1024 });
    const size = 1024 * 100;
    names.ask(peer(1), KEY, size, 0);
    names.ask(peer(2), KEY, size, 0);
    for (let second = 1; second < 160; second += 1) {
      names.progress(peer(1), KEY, second, second * 1000);
      expect(names.expire(second * 1000)).toEqual([]);
    }
    names.progress(peer(1), KEY, 160, 160_000);
    expect(told(names.expire(160_000))).toEqual([[peer(2), 'yours']]);
  });

  test('wait for nobody for ever who says that it is to read more than others say', () => {
    const names = new Names();
    names.ask(peer(1), KEY, Number.MAX_SAFE_INTEGER, 0);
    names.ask(peer(2), KEY, SIZE, 0);
    const answers: NameAnswer[] = [];
    for (let step = 1; step <= 20 && answers.length === 0; step += 1) {
      names.progress(peer(1), KEY, step, step * 9_000);
      answers.push(...names.expire(step * 9_000));
    }
    expect(told(answers)).toEqual([[peer(2), 'yours']]);
  });

  test.each([
    ['digests', { ...MEANING, digest: digestOf('else') }],
    ['sizes', { ...MEANING, sizeBytes: 1 }],
  ])('believe neither of two that disagree about %s', (_, other) => {
    const names = new Names();
    names.ask(peer(1), KEY, SIZE, 0);
    names.tell(peer(1), KEY, MEANING);
    names.tell(peer(2), KEY, other);
    expect(told(names.ask(peer(3), KEY, SIZE, 1))).toEqual([[peer(3), 'yours']]);
  });

  test('are known from one host up to a bound, the last that it has told', () => {
    const names = new Names({ maxTold: 2 });
    const [a, b, c] = ['a', 'b', 'c'].map((text) => digestOf(text)) as [Digest, Digest, Digest];
    names.tell(peer(2), KEY, MEANING);
    for (const key of [a, b, c]) names.tell(peer(1), key, MEANING);
    expect(names.size).toBe(3);
    expect(told(names.ask(peer(3), a, SIZE, 0))).toEqual([[peer(3), 'yours']]);
    for (const key of [b, c, KEY])
      expect(told(names.ask(peer(3), key, SIZE, 0))).toEqual([[peer(3), MEANING]]);
  });

  test('keep a bound, and nobody waiting for what they have dropped', () => {
    const names = new Names({ maxNames: 2 });
    const [a, b, c] = ['a', 'b', 'c'].map((text) => digestOf(text)) as [Digest, Digest, Digest];
    names.ask(peer(1), a, SIZE, 0);
    names.ask(peer(2), a, SIZE, 0);
    names.ask(peer(1), b, SIZE, 0);
    const answers = names.ask(peer(3), c, SIZE, 0);
    expect(names.size).toBe(2);
    expect(answers).toContainEqual({ to: peer(2), key: a, meaning: 'yours' });
    expect(answers).toContainEqual({ to: peer(3), key: c, meaning: 'yours' });
  });

  test('let who asks for too much find out by itself', () => {
    const names = new Names({ maxAsked: 1 });
    names.ask(peer(1), digestOf('a'), SIZE, 0);
    expect(told(names.ask(peer(1), digestOf('b'), SIZE, 0))).toEqual([[peer(1), 'yours']]);
    expect(names.size).toBe(1);
  });

  test('whatever happens: of those that wait for a name exactly one is to find it out, and all are answered', () => {
    const events = fc.array(
      fc.record({
        kind: fc.constantFrom('ask', 'tell', 'progress', 'giveUp', 'leave', 'expire'),
        who: fc.integer({ min: 1, max: 4 }),
        what: fc.integer({ min: 0, max: 3 }),
        laterMs: fc.nat(6_000),
      }),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(events, (all) => {
        const names = new Names({ maxNames: 3 });
        const last = new Map<string, NameAnswer['meaning']>();
        let nowMs = 0;
        for (const { kind, who, what, laterMs } of all) {
          nowMs += laterMs;
          const key = digestOf(String(what));
          const answers =
            kind === 'ask'
              ? names.ask(peer(who), key, SIZE, nowMs)
              : kind === 'tell'
                ? names.tell(peer(who), key, { digest: digestOf(`content ${what}`), sizeBytes: SIZE })
                : kind === 'giveUp'
                  ? names.giveUp(peer(who), key, nowMs)
                  : kind === 'leave'
                    ? names.leave(peer(who), nowMs)
                    : kind === 'expire'
                      ? names.expire(nowMs)
                      : [];
          if (kind === 'progress') names.progress(peer(who), key, laterMs, nowMs);
          if (kind === 'leave')
            for (const id of [...last.keys()]) if (id.startsWith(peer(who))) last.delete(id);
          if (kind === 'giveUp' || kind === 'tell') last.delete(`${peer(who)} ${key}`);
          for (const { to, key: name, meaning } of answers) last.set(`${to} ${name}`, meaning);
          expect(names.size).toBeLessThanOrEqual(3);
          for (const [id, meaning] of last) {
            if (meaning !== 'wait') continue;
            const [, name] = id.split(' ');
            const finders = [...last].filter(
              ([other, said]) => other.endsWith(` ${name}`) && said === 'yours',
            );
            expect(finders.length).toBeGreaterThanOrEqual(1);
          }
        }
      }),
    );
  });
});
