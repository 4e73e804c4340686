import type { JobDocument, JobSpecInput } from '@drakkar/client';
import { DrakkarError } from '@drakkar/errors';
import { defineCommand } from '../command-line/command.ts';
import { parseNumber } from '../command-line/number.ts';
import { PLATFORM } from '../command-line/options.ts';
import type { Context } from '../context.ts';
import { follow } from '../jobs/follow.ts';
import { ROLLOUT, rolloutOf } from '../jobs/rollout.ts';
import { jobDetail, jobTable } from '../output/jobs.ts';
import { repeat } from '../output/repeat.ts';
import { supernodeClient } from '../supernode-place.ts';

const WATCH = { summary: 'show it again every second' } as const;

const ACTIONS = {
  cancel: 'end a job; hosts give up what they are at',
  pause: 'begin nothing new of a job; hosts go on with what they are at',
  resume: 'go on with a job that was paused',
  retry: 'begin again with what of a job has not succeeded',
} as const;

/** `drakkar jobs …`: what the cluster was asked to do, and how far it is. */
export const commands = [
  defineCommand({
    name: 'jobs',
    summary: 'list what the cluster was asked to do, the newest first',
    configures: 'supernode',
    positionals: [],
    options: {
      limit: { value: 'number', default: '50', summary: 'so many' },
      active: { summary: 'those that have not ended alone' },
      watch: WATCH,
    },
    async run(context, _, { limit, active, watch }) {
      const client = await supernodeClient(context);
      await repeat(context, watch, async () => {
        const jobs = await client.jobs(
          { limit: parseNumber(limit, '--limit', [1, 999_999]), active },
          { signal: context.signal },
        );
        return { documents: jobs, text: jobTable(jobs, Date.now()) };
      });
    },
  }),
  defineCommand({
    name: 'jobs show',
    summary: 'one job, and how far each host is with it',
    configures: 'supernode',
    positionals: ['<id>'],
    options: { watch: WATCH },
    async run(context, [id], { watch }) {
      const client = await supernodeClient(context);
      const call = { signal: context.signal };
      await repeat(context, watch, async () => {
        const [job, hosts] = await Promise.all([client.job(id, call), client.jobHosts(id, call)]);
        return { documents: [{ ...job, work: hosts }], text: jobDetail(job, hosts, Date.now()) };
      });
    },
  }),
  ...Object.entries(ACTIONS).map(([action, summary]) =>
    defineCommand({
      name: `jobs ${action}`,
      summary,
      configures: 'supernode',
      positionals: ['<id>'],
      options: {},
      async run(context, [id]) {
        const client = await supernodeClient(context);
        const job = await client.actOnJob(id, action as keyof typeof ACTIONS, { signal: context.signal });
        context.answer(job, `${id} is ${job.state}`);
      },
    }),
  ),
  defineCommand({
    name: 'jobs rm',
    summary: 'forget a job that has ended',
    configures: 'supernode',
    positionals: ['<id>'],
    options: {},
    async run(context, [id]) {
      await (await supernodeClient(context)).removeJob(id, { signal: context.signal });
      context.answer({ removed: id }, `${id} is forgotten`);
    },
  }),
  defineCommand({
    name: 'jobs build',
    summary: 'have a builder of the cluster make an image’s snapshot',
    configures: 'supernode',
    positionals: ['<image>'],
    options: {
      platform: PLATFORM,
      push: { summary: 'push it to the image’s registry, too' },
      rebuild: { summary: 'build even where there is one' },
      detach: { summary: 'print the job, and do not wait for its end' },
    },
    run: (context, [image], { platform, push, rebuild, detach }) =>
      begin(
        context,
        { kind: 'build', image, ...(platform === undefined ? {} : { platform }), push, rebuild },
        detach,
      ),
  }),
  defineCommand({
    name: 'jobs get',
    summary: 'bring a file of a web server to hosts',
    configures: 'supernode',
    positionals: ['<url>'],
    options: { sha256: { value: 'hex', summary: 'what it must be' }, ...ROLLOUT },
    run: (context, [url], { sha256, ...flags }) =>
      begin(
        context,
        { kind: 'get', url, ...(sha256 === undefined ? {} : { sha256 }), ...rolloutOf(flags) },
        flags.detach,
      ),
  }),
  defineCommand({
    name: 'jobs evict',
    summary: 'take an image and its snapshot, or one blob, from hosts, where nothing uses it',
    configures: 'supernode',
    positionals: ['<image or digest>'],
    options: { platform: PLATFORM, ...ROLLOUT },
    run: (context, [name], { platform, ...flags }) => {
      const { keep: _, ...rollout } = rolloutOf(flags);
      if (flags.keep) throw new DrakkarError('invalid_argument', 'what is taken away is taken away once');
      const what = /^sha256:/.test(name)
        ? { digest: name }
        : { image: name, ...(platform === undefined ? {} : { platform }) };
      return begin(context, { kind: 'evict', ...what, ...rollout }, flags.detach);
    },
  }),
];

/** Has the cluster do something, and waits for its end unless told otherwise. */
export async function begin(context: Context, spec: JobSpecInput, detach: boolean): Promise<void> {
  const client = await supernodeClient(context);
  const job: JobDocument = await client.createJob(spec, undefined, { signal: context.signal });
  if (detach) {
    context.answer(job, job.id);
    return;
  }
  await follow(context, client, job);
}
