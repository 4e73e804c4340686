import { mkdtemp, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { LAYERS } from '../fleet/crowd-orders.ts';
import { Crowd } from '../fleet/crowd-process.ts';
import { type Fleet, startFleet } from '../fleet/fleet.ts';
import { HOSTS, QUICK_HOSTS } from '../fleet/many-hosts.ts';
import { cpuMsOf, treeRssBytes } from '../runner/process.ts';
import { atLeast, atMost, type Result } from '../runner/results.ts';
import { quantile } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';
import { TARGETS } from '../targets.ts';

const CROWDS = 4;
/** Of all hosts together: with what follows from them, half of the decisions that a core shall make. */
const PACED_WANTS_PER_SECOND = 2_500;

interface Size {
  readonly hosts: number;
  readonly loadSeconds: number;
  /** After all have joined. */
  readonly settleMs: number;
}

const FULL: Size = {
  hosts: HOSTS,
  loadSeconds: 20,
  settleMs: 10_000,
};
const QUICK: Size = { hosts: QUICK_HOSTS, loadSeconds: 2, settleMs: 1_000 };

const METHOD =
  'Four processes full of hosts that are nothing but their links connect to one supernode on the same machine. First every host asks for images as fast as it is answered, then all together at a given rate; then the supernode is begun again. Joining is what warms up.';

/** A supernode with ten thousand real connections: what a host costs it, how fast it answers, how fast all are back. */
export const control: Scenario = async ({ isQuick, onSample }) => {
  const size = isQuick ? QUICK : FULL;
  const { hosts } = size;
  await using fleet = await startFleet({ hosts: 0 });
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp('/var/tmp/drakkar-crowd-');
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const { pid } = fleet.supernode;
  const idleRss = await treeRssBytes(pid);
  const startedMs = performance.now();
  const crowds = Array.from({ length: CROWDS }, () =>
    stack.use(new Crowd({ ...fleet.join, hosts: hosts / CROWDS, directory })),
  );
  await Promise.all(crowds.map((crowd) => crowd.next()));
  const joinedMs = performance.now() - startedMs;
  onSample('all joined', 0, { wallMs: joinedMs });
  await sleep(size.settleMs);
  const rssOfHost = ((await treeRssBytes(pid)) - idleRss) / hosts / 1024;

  const saturated = await load(fleet, crowds, size.loadSeconds, 0);
  const paced = await load(fleet, crowds, size.loadSeconds, (hosts * LAYERS * 1000) / PACED_WANTS_PER_SECOND);

  await fleet.supernode.kill('SIGTERM');
  await sleep(2_000);
  await fleet.supernode.start();
  const restartedMs = performance.now();
  await untilAllAreUp(fleet, hosts);
  const backMs = performance.now() - restartedMs;
  onSample('all back', 0, { wallMs: backMs });
  const result: Result = {
    name: `control-${hosts}`,
    title: `A supernode with ${hosts} connections`,
    method: METHOD,
    series: [
      { name: 'all joined', samples: [{ wallMs: joinedMs }] },
      { name: 'all back after a restart', samples: [{ wallMs: backMs }] },
    ],
    input: {
      hosts,
      loadSeconds: size.loadSeconds,
      decisions: 'announcements that hosts made, and choices that they were told',
      saturated,
      paced,
      rssOfHost,
    },
    claims: [
      atLeast(
        'supernode: decisions in a second of CPU / 20,000',
        decisionsPerCpuSecond(saturated) / 20_000,
        '×',
        TARGETS.decisions.figure,
      ),
      atMost('supernode: memory of a host (KiB / 192)', rssOfHost / 192, '×', TARGETS.hostMemory.figure),
      atMost(
        `supernode: from a want to its answer, p99, at ${PACED_WANTS_PER_SECOND} wants a second`,
        paced.p99Ms,
        'ms',
        50,
      ),
      atMost('supernode: all back after a restart', backMs, 'ms', 150_000),
    ],
  };
  return [result];
};

interface Load {
  /** Of the supernode. */
  readonly cpuMs: number;
  readonly announcements: number;
  readonly choices: number;
  readonly answers: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Every host asks for images, and pauses in between. */
async function load(fleet: Fleet, crowds: readonly Crowd[], seconds: number, pauseMs: number): Promise<Load> {
  const { pid } = fleet.supernode;
  const before = { cpuMs: await cpuMsOf(pid), ...(await countersOf(fleet)) };
  const reports = await Promise.all(crowds.map((crowd) => crowd.order(`ask ${seconds} ${pauseMs}`)));
  const after = { cpuMs: await cpuMsOf(pid), ...(await countersOf(fleet)) };
  const answers = reports.flatMap(({ answerMs }) => answerMs);
  return {
    cpuMs: after.cpuMs - before.cpuMs,
    announcements: after.announcements - before.announcements,
    choices: after.choices - before.choices,
    answers: answers.length,
    p50Ms: quantile(answers, 0.5),
    p99Ms: quantile(answers, 0.99),
  };
}

const decisionsPerCpuSecond = ({ announcements, choices, cpuMs }: Load): number =>
  ((announcements + choices) * 1000) / cpuMs;

async function countersOf(fleet: Fleet): Promise<{ announcements: number; choices: number }> {
  const { metricsUrl } = await fleet.supernode.client.status();
  const text = await (await fetch(metricsUrl)).text();
  const counter = (name: string) =>
    Number(new RegExp(`^drakkar_supernode_${name}_total ([0-9]+)`, 'm').exec(text)?.[1]);
  return { announcements: counter('announcements'), choices: counter('decisions') };
}

async function untilAllAreUp(fleet: Fleet, hosts: number): Promise<void> {
  for (const endMs = Date.now() + 300_000; Date.now() < endMs; await sleep(100)) {
    if ((await fleet.supernode.client.status()).hosts === hosts) return;
  }
  throw new Error('not all hosts came back within five minutes');
}
