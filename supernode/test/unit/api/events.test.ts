import { describe, expect, test } from 'vitest';
import { Events } from '../../../src/api/events.ts';
import { Unread } from '../../../src/api/routes/events.ts';

describe('events', () => {
  test('are kept as they were when they were told, whether anybody listens or not', () => {
    const events = new Events();
    const heard: string[] = [];
    const host = { name: 'a' };
    {
      using _ = events.listen(({ id }) => heard.push(id));
      events.tell('host', host);
    }
    events.tell('host', host);
    host.name = 'b';
    const [first = ''] = heard;
    expect(events.since(first)).toMatchObject([{ topic: 'host', text: '{"name":"a"}' }]);
    expect(heard).toHaveLength(1);
    expect(events.since('another-1')).toBeUndefined();
  });

  test('are forgotten beyond a number, and beyond so many bytes, the oldest first', () => {
    const few = new Events({ maxKept: 3 });
    const small = new Events({ maxBytes: 100 });
    for (const events of [few, small]) {
      const ids: string[] = [];
      using _ = events.listen(({ id }) => ids.push(id));
      for (let number = 0; number < 20; number += 1) events.tell('job', { text: 'x'.repeat(4) });
      expect(events.since(ids.at(-1) ?? '')).toEqual([]);
      const kept = events === few ? 3 : 3;
      expect(events.since(ids.at(-1 - kept) ?? '')).toHaveLength(kept);
      expect(events.since(ids.at(-2 - kept) ?? '')).toBeUndefined();
    }
    const ids: string[] = [];
    using _ = small.listen(({ id }) => ids.push(id));
    small.tell('job', { text: 'x'.repeat(1_000) });
    small.tell('job', {});
    expect(small.since(ids[0] ?? '')).toHaveLength(1);
  });
});

test('who does not read is known, and who has more than their share where all have too much', () => {
  const unread = new Unread(100, 200);
  const listeners = [90, 60, 40, 101].map((writableLength) => ({ writableLength, destroyed: false }));
  const [large, middle, small, larger] = listeners as [Listener, Listener, Listener, Listener];
  for (const listener of [large, middle, small]) unread.look(listener);
  expect([large, middle, small, larger].map((each) => unread.isTooMuch(each))).toEqual([
    false,
    false,
    false,
    true,
  ]);
  unread.look(larger);
  expect([large, middle, small].map((each) => unread.isTooMuch(each))).toEqual([true, true, false]);
  larger.destroyed = true;
  unread.look(larger);
  unread.forget(middle);
  expect(unread.isTooMuch(large)).toBe(false);
});

interface Listener {
  writableLength: number;
  destroyed: boolean;
}
