import { digestOf } from '@drakkar/protocol';
import { expect, test } from 'vitest';
import { Names } from '../../../src/swarm/names.ts';

test('nobody waits for ever for another host to find out what a name means', async () => {
  let nowMs = 0;
  const names = new Names(() => nowMs);
  names.begin({ isUp: true, downMs: 0, knowsNames: true, name: () => {} });
  const key = digestOf('name');
  using asked = names.ask(key, 60 * 2 ** 20);
  names.named({ key, meaning: 'wait' });
  const meaning = asked.meaning(new AbortController().signal);
  let isAlone = false;
  void meaning.then(() => {
    isAlone = true;
  });
  nowMs = 89_000;
  names.linkChanged();
  names.named({ key, meaning: 'wait' });
  await new Promise((resolve) => setImmediate(resolve));
  expect(isAlone).toBe(false);
  nowMs = 90_000;
  expect(await meaning).toBeUndefined();
});
