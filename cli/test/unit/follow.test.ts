import type { JobDocument, SupernodeClient } from '@drakkar/client';
import { DrakkarError } from '@drakkar/errors';
import { expect, test } from 'vitest';
import type { Context } from '../../src/context.ts';
import { follow } from '../../src/jobs/follow.ts';

const RUNNING = {
  ...{ id: 'job-1', state: 'running', endedAtMs: null, reason: 'it is on its way', error: null },
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
