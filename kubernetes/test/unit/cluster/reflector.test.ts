import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { WatchEvent } from '../../../src/cluster/contract.ts';
import { type ApiServer, Reflector } from '../../../src/cluster/index.ts';

const GONE = { code: 410, reason: 'Expired' };

const ENDS: [string, WatchEvent[]][] = [
  ['ends at once', []],
  [
    'sends something and ends',
    [{ type: 'BOOKMARK', object: { metadata: { name: '', uid: '', resourceVersion: '2' } } }],
  ],
  ['has always forgotten where it is to go on', [{ type: 'ERROR', object: GONE }]],
];

test.each(ENDS)(
  'a reflector waits longer each time before the next watch where one %s',
  async (_, events) => {
    const beganMs: number[] = [];
    const api: ApiServer = {
      request: async <T>() => ({ metadata: { resourceVersion: '1' }, items: [] }) as T,
      async *watch(_path, { opened } = {}) {
        beganMs.push(performance.now());
        opened?.();
        yield* events;
      },
    };
    const options = {
      path: '/api/v1/pods',
      keep: () => undefined,
      changed: () => {},
      failed: () => {},
    } as const;
    const ending = new AbortController();
    const running = new Reflector(api, options).run(ending.signal);
    while (beganMs.length < 6) await sleep(10);
    ending.abort();
    await running;
    const waitedMs = beganMs.slice(1).map((ms, index) => ms - (beganMs[index] ?? 0));
    for (const [index, ms] of waitedMs.entries()) expect(ms).toBeGreaterThan(45 * 2 ** index);
  },
);
