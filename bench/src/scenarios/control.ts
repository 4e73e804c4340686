import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CrowdOrders, CrowdReport } from '../fleet/crowd.ts';
import { type Fleet, startFleet } from '../fleet/fleet.ts';
import { cpuMsOf, treeRssBytes } from '../runner/process.ts';
import { atLeast, atMost, type Result } from '../runner/results.ts';
import type { Scenario } from '../scenario.ts';

const HOSTS = Number(process.env.DRAKKAR_BENCH_HOSTS ?? 10_000);
const CROWDS = 4;
const LOAD_SECONDS = 20;
const CROWD = join(import.meta.dirname, '../fleet/crowd.ts');

/** A supernode with ten thousand real connections: what a host costs it, how fast it answers, how fast all are back. */
export const control: Scenario = async ({ onSample }) => {
  await using fleet = await startFleet({ hosts: 0 });
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp('/var/tmp/drakkar-crowd-');
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const { pid } = fleet.supernode;
  const idleRss = await treeRssBytes(pid);
  const startedMs = performance.now();
  const crowds = Array.from({ length: CROWDS }, () =>
    stack.use(new Crowd({ ...fleet.join, hosts: HOSTS / CROWDS, directory })),
  );
  await Promise.all(crowds.map((crowd) => crowd.next()));
  const joinedMs = performance.now() - startedMs;
  await sleep(10_000);
  const rssOfHost = ((await treeRssBytes(pid)) - idleRss) / HOSTS / 1024;

  const before = { cpuMs: await cpuMsOf(pid), decisions: await decisionsOf(fleet) };
  const reports = await Promise.all(crowds.map((crowd) => crowd.order(`ask ${LOAD_SECONDS}`)));
  const cpuMs = (await cpuMsOf(pid)) - before.cpuMs;
  const decisions = (await decisionsOf(fleet)) - before.decisions;
  const answers = reports.flatMap(({ answerMs }) => answerMs).sort((a, b) => a - b);
  const p99 = answers[Math.floor(answers.length * 0.99)] ?? Number.NaN;

  await fleet.supernode.kill('SIGTERM');
  await sleep(2_000);
  await fleet.supernode.start();
  const restartedMs = performance.now();
  await untilAllAreUp(fleet);
  const backMs = performance.now() - restartedMs;
  onSample('all back', 0, { wallMs: backMs });
  const result: Result = {
    name: 'control',
    title: `A supernode with ${HOSTS} connections`,
    series: [
      { name: 'all joined', samples: [{ wallMs: joinedMs }] },
      { name: 'all back after a restart', samples: [{ wallMs: backMs }] },
    ],
    input: {
      hosts: HOSTS,
      loadSeconds: LOAD_SECONDS,
      cpuMs,
      decisions,
      answers: answers.length,
      p99Ms: p99,
      rssOfHost,
    },
    claims: [
      atLeast('supernode: thousands of decisions in a second of CPU', decisions / cpuMs, '×', 20),
      atMost('supernode: memory of a host (KiB / 192)', rssOfHost / 192, '×', 1),
      atMost('supernode: from a want to its answer, p99, at full load', p99, 'ms', 50),
      atMost('supernode: all back after a restart', backMs, 'ms', 150_000),
    ],
  };
  return [result];
};

async function decisionsOf(fleet: Fleet): Promise<number> {
  const { metricsUrl } = await fleet.supernode.client.status();
  const text = await (await fetch(metricsUrl)).text();
  return Number(/^drakkar_supernode_decisions_total ([0-9]+)/m.exec(text)?.[1]);
}

async function untilAllAreUp(fleet: Fleet): Promise<void> {
  for (const endMs = Date.now() + 300_000; Date.now() < endMs; await sleep(100)) {
    if ((await fleet.supernode.client.status()).hosts === HOSTS) return;
  }
  throw new Error('not all hosts came back within five minutes');
}

class Crowd implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(orders: CrowdOrders) {
    this.#process = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', process.execPath, CROWD, JSON.stringify(orders)],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    );
    if (this.#process.stdout === null) throw new Error('a child without output');
    this.#lines = createInterface(this.#process.stdout)[Symbol.asyncIterator]();
  }

  async next(): Promise<CrowdReport> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error('a crowd has ended');
    return JSON.parse(line.value) as CrowdReport;
  }

  order(order: string): Promise<CrowdReport> {
    this.#process.stdin?.write(`${order}\n`);
    return this.next();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGKILL');
  }
}
