import { setTimeout as sleep } from 'node:timers/promises';
import { type JobDocument, SupernodeClient } from '@drakkar/client';
import { TASK_BYTES } from '../fleet/crowd-orders.ts';
import { HOSTS, QUICK_HOSTS, startManyHosts } from '../fleet/many-hosts.ts';
import { cpuMsOf, treeRssBytes } from '../runner/process.ts';
import { all, atMost, type Result } from '../runner/results.ts';
import { quantile } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';

/** Jobs over all hosts, one after the other. */
const JOBS = 3;
const POLL_MS = 25;
const DEADLINE_MS = 10 * 60_000;
const MIB = 1024 ** 2;

const METHOD = [
  'All on one machine: the supernode, four processes full of hosts that are nothing but their links, and who asks the API, one request after the other.',
  'The hosts’ processes run at the lowest priority, so that they take from the supernode as little as other machines would.',
].join(' ');

interface Answer {
  readonly view: string;
  readonly wallMs: number;
}

/** A job over ten thousand hosts: whether what is said of it is exact, how fast the API answers meanwhile, and what it costs. */
export const jobs: Scenario = async ({ isQuick, onSample }) => {
  const hosts = isQuick ? QUICK_HOSTS : HOSTS;
  const count = isQuick ? 1 : JOBS;
  const parallelism = isQuick ? hosts : Math.ceil(hosts / 5);
  await using stack = new AsyncDisposableStack();
  const fleet = await startManyHosts(hosts, stack);
  const { pid, client } = fleet.supernode;
  const idleRss = await treeRssBytes(pid);
  const rss: number[] = [idleRss];
  const answers: Answer[] = [];
  const samples = [];
  let exact = 0;
  let cpuMs = 0;
  for (let round = 0; round < count; round += 1) {
    const startedMs = performance.now();
    const cpuBefore = await cpuMsOf(pid);
    const ended = await follow(client, { round, parallelism }, answers);
    const wallMs = performance.now() - startedMs;
    cpuMs += (await cpuMsOf(pid)) - cpuBefore;
    onSample('preheat', round, { wallMs });
    samples.push({ wallMs });
    exact += Number(await isExact(client, ended, hosts));
    rss.push(await treeRssBytes(pid));
  }
  const answerMs = answers.map(({ wallMs }) => wallMs);
  const result: Result = {
    name: `jobs-${hosts}`,
    title: `A preheat job over ${hosts} hosts`,
    method: METHOD,
    series: [{ name: 'from its creation to its end', samples }],
    input: {
      ...{ hosts, parallelism, jobs: count, cpuMs, rss },
      api: {
        ...{ requests: answerMs.length, p50Ms: quantile(answerMs, 0.5), p99Ms: quantile(answerMs, 0.99) },
        p99MsOf: Object.fromEntries(
          Map.groupBy(answers, ({ view }) => view)
            .entries()
            .map(([view, asked]) => [
              view,
              quantile(
                asked.map(({ wallMs }) => wallMs),
                0.99,
              ),
            ]),
        ),
      },
    },
    claims: [
      all('jobs: those of which the progress was complete and exact', exact / count),
      atMost('jobs: API meanwhile, p99', quantile(answerMs, 0.99), 'ms', 100),
      atMost(`supernode: memory with ${hosts} hosts and their jobs`, Math.max(...rss) / MIB, 'MiB', 2_560),
      atMost(
        'jobs: memory after the last, against after the first',
        (rss.at(-1) ?? 0) / (rss[1] ?? 1),
        '×',
        1.25,
      ),
    ],
  };
  return [result];
};

/** Looks at it as people and programs do, until it has ended. */
async function follow(
  client: SupernodeClient,
  { round, parallelism }: { readonly round: number; readonly parallelism: number },
  answers: Answer[],
): Promise<JobDocument> {
  const spec = {
    ...{ kind: 'preheat' as const, image: `registry.example/app:${round}`, content: 'layers' as const },
    parallelism,
  };
  const { id } = await client.createJob(spec);
  const { text: token } = await client.createToken({ name: `viewer-${round}`, role: 'viewer' });
  const { api } = new SupernodeClient({ url: (await client.status()).apiUrl, token });
  const page = { query: { limit: 50 } };
  const views = {
    job: () => api.GET('/api/v1/jobs/{id}', { params: { path: { id } } }),
    'hosts of the job': () => api.GET('/api/v1/jobs/{id}/hosts', { params: { path: { id }, ...page } }),
    hosts: () => api.GET('/api/v1/hosts', { params: page }),
    overview: () => api.GET('/api/v1/overview'),
    topology: () => api.GET('/api/v1/topology'),
    jobs: () => api.GET('/api/v1/jobs', { params: page }),
  };
  for (const endMs = performance.now() + DEADLINE_MS; performance.now() < endMs; await sleep(POLL_MS)) {
    for (const [view, ask] of Object.entries(views)) {
      const askedMs = performance.now();
      await ask();
      answers.push({ view, wallMs: performance.now() - askedMs });
    }
    const job = await client.job(id);
    if (job.endedAtMs !== null) return job;
  }
  throw new Error(`job ${id} has not ended within ten minutes`);
}

/** Every host once, and every byte. */
async function isExact(client: SupernodeClient, job: JobDocument, hosts: number): Promise<boolean> {
  const works = await client.jobHosts(job.id);
  const peers = new Set(works.map(({ peer }) => peer));
  return (
    job.state === 'succeeded' &&
    peers.size === hosts &&
    works.every(({ state, sizeBytes }) => state === 'succeeded' && sizeBytes === TASK_BYTES) &&
    job.hosts.succeeded === hosts &&
    job.bytes.size === hosts * TASK_BYTES
  );
}
