import type { JobDocument, SupernodeClient } from '@drakkar/client';
import { DrakkarError } from '@drakkar/errors';
import { expect, test } from 'vitest';
import type { Context } from '../../src/context.ts';
import { follow } from '../../src/jobs/follow.ts';

const RUNNING = {
  ...{ id: 'job-1', state: 'running', endedAtMs: null, reason: 'it is on its way', error: null, trace: null },
  spec: { kind: 'build', image: 'app:1' },
} as unknown as JobDocument;

test('a job is followed on through a supernode that is away, and ends with what it may not see', async () => {
  const said: string[] = [];
  const context = {
    signal: new AbortController().signal,
    say: (text: string) => void said.push(text),
    answer: () => {},
  } as unknown as Context;
  const answers = [
    new DrakkarError('unavailable', 'no supernode answers'),
    new DrakkarError('forbidden', 'not for you'),
  ];
  const client = { job: () => Promise.reject(answers.shift()) } as unknown as SupernodeClient;
  await expect(follow(context, client, RUNNING)).rejects.toMatchObject({ code: 'forbidden' });
  expect(said.filter((line) => line.startsWith('no supernode answers'))).toHaveLength(1);
  expect(answers).toEqual([]);
});

test.each([
  ['failed', null, 'unavailable'],
  ['failed', { code: 'not_found', message: 'no such image' }, 'not_found'],
  ['cancelled', null, 'cancelled'],
])('a job that ended as %s with %j is said with its code, id and trace', async (state, error, code) => {
  const context = { signal: new AbortController().signal, say: () => {} } as unknown as Context;
  const trace = { traceId: '4bf92f3577b34da6a3ce929d0e0e4736' };
  const ended = { ...RUNNING, state, endedAtMs: 1, error, trace } as unknown as JobDocument;
  await expect(follow(context, {} as SupernodeClient, ended)).rejects.toMatchObject({
    code,
    details: { job: 'job-1', traceId: trace.traceId },
  });
});
