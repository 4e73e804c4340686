import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobDocument } from '@drakkar/client';
import { imageOf, layerOf, pushImage, tarArchive } from '@drakkar/lab';
import { startFleet } from '../fleet/fleet.ts';
import { all, atMost, type Result } from '../runner/results.ts';
import { quantile } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';

const BUILDERS = 4;
const DELIVERIES = 200;
const QUICK_DELIVERIES = 5;
const INTERVAL_MS = 500;
const LAYER_BYTES = 100_000;
const DEADLINE_MS = 5 * 60_000;

const METHOD = [
  'Images of one small layer are pushed beforehand. A registry’s notifications of them are sent to the supernode one every half second; a policy has each built.',
  'From before a notification is sent to the moment at which the supernode gives the build to a host, as its job says: the tag has been resolved by a host then.',
].join(' ');

/** How soon after a registry has told of a push its snapshot is being built. */
export const webhooks: Scenario = async ({ isQuick, onSample }) => {
  const deliveries = isQuick ? QUICK_DELIVERIES : DELIVERIES;
  await using fleet = await startFleet({
    hosts: BUILDERS,
    daemon: () => ({ swarm: { roles: ['builder'] } }),
  });
  const { registry, supernode } = fleet;
  const { client } = supernode;
  const repositories = Array.from({ length: deliveries }, (_, index) => `bench/app-${index}`);
  for (const repository of repositories) {
    const layers = [layerOf(tarArchive([{ name: 'data', data: randomBytes(LAYER_BYTES) }]))];
    await pushImage(registry.url, imageOf({ layers }), { repository, tag: 'latest' });
  }
  await client.createPolicy({ name: 'bench', images: [`${registry.host}/bench/*`], atOnce: 50 });
  const hook = await client.createWebhook({ name: 'bench', kind: 'generic', registry: registry.host });
  const url = (await client.status()).apiUrl + hook.path;
  const sentAtMs = new Map<string, number>();
  const takenMs: number[] = [];
  for (const repository of repositories) {
    const image = `${registry.host}/${repository}:latest`;
    const startedMs = performance.now();
    sentAtMs.set(image, Date.now());
    const { ok, status } = await fetch(url, {
      method: 'POST',
      headers: { authorization: `Bearer ${hook.secret}`, 'content-type': 'application/json' },
      body: JSON.stringify({ images: [image] }),
    });
    if (!ok) throw new Error(`a delivery was answered with ${status}`);
    takenMs.push(performance.now() - startedMs);
    await sleep(INTERVAL_MS);
  }
  const builds = async () => (await client.jobs()).filter(({ spec }) => spec.kind === 'build');
  const endMs = performance.now() + DEADLINE_MS;
  let jobs: JobDocument[];
  do {
    await sleep(INTERVAL_MS);
    jobs = await builds();
  } while (
    jobs.filter(({ endedAtMs }) => endedAtMs !== null).length < deliveries &&
    performance.now() < endMs
  );
  const samples = jobs.flatMap((job) => {
    const image = 'image' in job.spec ? (job.spec.image ?? '') : '';
    const [sent, begun] = [sentAtMs.get(image), job.build?.startedAtMs];
    return sent === undefined || begun == null ? [] : [{ wallMs: begun - sent }];
  });
  const waits = samples.map(({ wallMs }) => wallMs);
  for (const [round, sample] of samples.entries()) onSample('build begun', round, sample);
  const result: Result = {
    name: 'webhooks',
    title: `From a registry’s word to its build, ${deliveries} images`,
    method: METHOD,
    series: [
      { name: 'delivery answered', samples: takenMs.map((wallMs) => ({ wallMs })) },
      { name: 'build begun', samples },
    ],
    input: {
      ...{ builders: BUILDERS, deliveries, intervalMs: INTERVAL_MS, layerBytes: LAYER_BYTES },
      ...{ p50Ms: quantile(waits, 0.5), p99Ms: quantile(waits, 0.99) },
    },
    claims: [
      all('webhooks: images that were built, of those told of', samples.length / deliveries),
      atMost('webhooks: from the notification to the build, p99', quantile(waits, 0.99), 'ms', 1_000),
    ],
  };
  return [result];
};
