import type { PolicyRules } from '@drakkar/kubernetes';
import { PullSecrets } from '@drakkar/kubernetes';
import { Tracing } from '@drakkar/service';
import pino from 'pino';
import { expect, test } from 'vitest';
import { PoliciesOfKubernetes } from '../../../src/kubernetes/kept-policies.ts';
import { Policies, policyRequest } from '../../../src/policies/index.ts';
import { SqliteState } from '../../../src/state/index.ts';
import { FakeJobs } from '../policies/jobs.ts';

const rules: PolicyRules = {
  ...{ isOn: true, images: ['**'], onPush: true, onFirstPull: false, minSizeBytes: 0, atOnce: 2 },
  ...{ refreshMs: null, keepMs: null, distribution: { scope: 'None', parallelism: 1 } },
};

async function open() {
  await using stack = new AsyncDisposableStack();
  const state = stack.use(new SqliteState(':memory:'));
  const modules = { state, jobs: new FakeJobs(Date.now).modules, nowMs: Date.now, forgetUnused: () => 0 };
  const policies = stack.use(
    await Policies.open({ ...modules, log: pino({ level: 'silent' }), tracing: new Tracing() }),
  );
  const opened = stack.move();
  return { policies, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

test('what is no pattern is refused in a line, with where and what', async () => {
  await using opened = await open();
  const kept = new PoliciesOfKubernetes(opened.policies);
  const images = ['**', '{a,b'];
  await expect(kept.keep('bad', { ...rules, images }, new PullSecrets([], undefined))).rejects.toMatchObject({
    ...{ code: 'invalid_argument' },
    message: expect.stringMatching(/^spec\.images\[1\]: "\{a,b": is no pattern of images; write it as .+$/),
  });
});

test('policies of SnapshotPolicies that went while nobody looked are removed, and no others', async () => {
  await using opened = await open();
  const { policies } = opened;
  const kept = new PoliciesOfKubernetes(policies);
  const long = 'a.name.that.policies.do.not.have'.repeat(3);
  for (const name of ['stays', long, 'gone', `${long}.gone`])
    await kept.keep(name, rules, new PullSecrets([], undefined));
  for (const name of ['kubernetes-mine', 'mine'])
    await policies.create(policyRequest.parse({ name, images: ['**'] }), 'me');
  const names = () => policies.page({ limit: 100 }).items.map(({ name }) => name);
  const before = names();
  await kept.retain(['stays', long]);
  expect(before).toHaveLength(names().length + 2);
  expect(names()).toEqual(
    expect.arrayContaining(['kubernetes-stays', 'kubernetes-mine', 'mine', 'zero-touch']),
  );
  expect(names()).not.toContain('kubernetes-gone');
  await kept.retain([]);
  expect(names()).toEqual(['kubernetes-mine', 'mine', 'zero-touch']);
});
