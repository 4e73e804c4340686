import { describe, expect, test } from 'vitest';
import { EMPTY_JOB, jobSpec, parseLabels } from '../../../console/src/model/job-form.ts';
import { EMPTY_POLICY, policyRequest } from '../../../console/src/model/policy-form.ts';
import { doesOf, trialRequest } from '../../../console/src/model/webhook-trial.ts';
import { jobSpecSchema } from '../../../src/jobs/index.ts';
import { policyRequest as policySchema } from '../../../src/policies/schema.ts';

const IMAGE = 'registry.example/app:1';

describe('the form of a new job', () => {
  test.each([
    [
      { kind: 'preheat', subject: IMAGE },
      { kind: 'preheat', image: IMAGE, content: 'snapshot', parallelism: 100 },
    ],
    [
      {
        kind: 'preheat',
        subject: ` ${IMAGE} `,
        labels: 'rack=a1, zone=eu',
        percentage: '25',
        parallelism: '10%',
        keep: true,
      },
      { target: { labels: { rack: 'a1', zone: 'eu' }, percentage: 25 }, parallelism: '10%', keep: true },
    ],
    [
      { kind: 'build', subject: IMAGE, push: true },
      { kind: 'build', image: IMAGE, push: true, rebuild: false },
    ],
    [
      { kind: 'get', subject: 'https://files.example/a', platform: 'x' },
      { kind: 'get', url: 'https://files.example/a' },
    ],
    [
      { kind: 'evict', subject: `sha256:${'0'.repeat(64)}`, role: 'seed' },
      { digest: `sha256:${'0'.repeat(64)}`, target: { role: 'seed' } },
    ],
    [{ kind: 'evict', subject: IMAGE }, { image: IMAGE }],
  ] as const)('makes what the supernode takes of %o', (fields, spec) => {
    expect(jobSpecSchema.parse(jobSpec({ ...EMPTY_JOB, ...fields }))).toMatchObject(spec);
  });

  test('leaves to the supernode what is wrong', () => {
    for (const fields of [
      { subject: 'Not An Image' },
      { subject: IMAGE, percentage: 'many' },
      { subject: IMAGE, parallelism: '0' },
    ])
      expect(jobSpecSchema.safeParse(jobSpec({ ...EMPTY_JOB, ...fields })).success).toBe(false);
  });

  test('reads labels as people write them', () => {
    expect(parseLabels('a=b  c=d=e,f')).toEqual({ a: 'b', c: 'd=e', f: '' });
    expect(parseLabels(' ')).toEqual({});
  });
});

describe('the form of a new policy', () => {
  test('makes what the supernode takes', () => {
    const fields = {
      ...EMPTY_POLICY,
      name: 'shop',
      images: 'registry.example/shop/*\n\n registry.example/b ',
    };
    expect(policySchema.parse(policyRequest(fields))).toMatchObject({
      images: ['registry.example/shop/*', 'registry.example/b'],
      distribute: null,
      refreshMs: null,
      keepMs: null,
    });
    const more = {
      ...fields,
      distribute: 'start',
      role: 'seed',
      refreshHours: '1.5',
      keepDays: '30',
    } as const;
    expect(policySchema.parse(policyRequest(more))).toMatchObject({
      distribute: { content: 'start', target: { role: 'seed' }, parallelism: 100 },
      refreshMs: 5_400_000,
      keepMs: 2_592_000_000,
    });
  });
});

describe('the trial of a webhook', () => {
  test('is of what was written, or of an example', () => {
    expect(trialRequest(' ')).toEqual({});
    expect(trialRequest('{"images":[]}')).toEqual({ delivery: { images: [] } });
    expect(() => trialRequest('{')).toThrow(SyntaxError);
  });

  test('says what policies would do', () => {
    const policy = { id: '', name: 'apps' };
    expect(doesOf({ ...policy, does: ['build', 'distribute'] })).toBe(
      'apps: builds its snapshot, brings it to hosts',
    );
    expect(doesOf({ ...policy, does: [] })).toMatch(/^apps: nothing/);
  });
});
