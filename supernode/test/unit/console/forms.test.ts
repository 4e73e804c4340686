import { describe, expect, test } from 'vitest';
import { numberOf, sortIssues } from '../../../console/src/model/issues.ts';
import { EMPTY_JOB, JOB_PLACES, jobSpec } from '../../../console/src/model/job-form.ts';
import {
  EMPTY_POLICY,
  POLICY_PLACES,
  policyFields,
  policyRequest,
} from '../../../console/src/model/policy-form.ts';
import { parseLabels } from '../../../console/src/model/rollout.ts';
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
        labels: 'rack=a1\nzone=eu',
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
      { subject: IMAGE, hosts: '0.5' },
      { subject: IMAGE, hosts: '3', percentage: '10' },
    ])
      expect(jobSpecSchema.safeParse(jobSpec({ ...EMPTY_JOB, ...fields })).success).toBe(false);
  });

  test('reads labels as people write them', () => {
    expect(parseLabels('a=b\n\n c=d=e \nf\ng=h i')).toEqual({ a: 'b', c: 'd=e', f: '', g: 'h i' });
    expect(parseLabels(' ')).toEqual({});
  });
});

describe('the form of a policy', () => {
  const WRITTEN = {
    ...EMPTY_POLICY,
    name: 'shop',
    enabled: false,
    images: 'registry.example/shop/*\n\n registry.example/b ',
    onPush: false,
    minMegabytes: '1.5',
    atOnce: '7',
    push: true,
    distribute: 'start',
    role: 'seed',
    labels: 'rack=a1',
    hosts: '12',
    parallelism: '10%',
    refreshHours: '1.5',
    keepDays: '30',
  } as const;
  const MEANT = {
    name: 'shop',
    enabled: false,
    images: ['registry.example/shop/*', 'registry.example/b'],
    on: { push: false, firstPull: true },
    minSizeBytes: 1_500_000,
    atOnce: 7,
    push: true,
    distribute: {
      content: 'start',
      target: { role: 'seed', labels: { rack: 'a1' }, hosts: 12 },
      parallelism: '10%',
    },
    refreshMs: 5_400_000,
    keepMs: 2_592_000_000,
  };
  const made = { id: 'i', createdAtMs: 1, createdBy: 'me', changedAtMs: 2 };

  test('makes what the supernode takes, with what it says where nothing is written', () => {
    expect(policySchema.parse(policyRequest(WRITTEN))).toEqual(MEANT);
    const least = { ...EMPTY_POLICY, name: 'shop', images: 'a/*' };
    const defaults = policySchema.parse({ name: 'shop', images: ['a/*'] });
    expect(policySchema.parse(policyRequest(least))).toEqual(defaults);
  });

  test('has a field for all that a policy has, and gives back what it was given', () => {
    for (const policy of [MEANT, policySchema.parse({ name: 'shop', images: ['a/*'] })]) {
      const fields = policyFields({ ...policySchema.parse(policy), ...made });
      expect(policySchema.parse(policyRequest(fields))).toEqual(policy);
    }
    const written = Object.keys(policyRequest({ ...WRITTEN })).sort();
    expect(written).toEqual(Object.keys(policySchema.shape).sort());
  });

  test('shows what the supernode refuses at its field', () => {
    const wrong = {
      ...WRITTEN,
      name: 'Not So',
      images: 'good/*\n{bad',
      minMegabytes: 'many',
      percentage: '10',
      keepDays: '0.001',
      refreshHours: 'x',
      parallelism: 'all',
    };
    const result = policySchema.safeParse(policyRequest(wrong));
    const issues = (result.error?.issues ?? []).map(({ path, message }) => ({
      path: `body/${path.map(String).join('/')}`,
      message,
    }));
    const { fields, others } = sortIssues(issues, 'body', POLICY_PLACES);
    expect(others).toEqual([]);
    expect(fields).toMatchObject({
      name: expect.stringContaining('small letters'),
      images: expect.stringMatching(/^2: is no pattern/),
      minMegabytes: expect.any(String),
      refreshHours: expect.any(String),
      keepDays: expect.any(String),
      parallelism: expect.stringContaining('percentage'),
    });
  });

  test('leaves what is of no field to the whole form', () => {
    const issue = { path: 'body', message: 'has more' };
    expect(sortIssues([issue], 'body', POLICY_PLACES)).toEqual({ fields: {}, others: [issue] });
    const image = { path: 'body/spec/image', message: 'is none' };
    expect(sortIssues([image], 'body/spec', JOB_PLACES).fields).toEqual({ subject: 'is none' });
    const alike = { path: 'body/spec/imageless', message: 'x' };
    expect(sortIssues([alike], 'body/spec', JOB_PLACES).others).toEqual([alike]);
  });

  test('reads numbers in their units, and leaves what is none as it is', () => {
    expect(numberOf(' ', null)).toBeNull();
    expect(numberOf(' 1.5 ', null, 1_000)).toBe(1_500);
    expect(numberOf('0.1', null)).toBe(0.1);
    expect(numberOf('many', null)).toBe('many');
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
