import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { AdminClient, SupernodeClient } from '@drakkar/client';
import type { DrakkarError } from '@drakkar/errors';
import {
  type CollectedSpan,
  type Collector,
  imageOf,
  layerOf,
  noise,
  pushImage,
  type Registry,
  startCollector,
  startRegistry,
  tarArchive,
  temporaryDirectory,
} from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const MAIN = join(import.meta.dirname, '../../src/main.js');
const LOOPBACK = '127.0.0.1';
const ASKED = '00f067aa0ba902b7';
/** Of whoever asks, who exports nothing here. */
const traceparentOf = (traceId: string) => `00-${traceId}-${ASKED}-01`;

interface Line {
  readonly msg: string;
  readonly traceId?: string;
}

/** A `daemon` or `supernode` as a process of its own, all of whose log is kept. */
interface Running extends AsyncDisposable {
  readonly log: string;
  /** What it has said of a trace. */
  said(traceId: string): string[];
  /** @returns its exit code */
  end(): Promise<number | null>;
}

async function startProcess(command: string, directory: string, config: object): Promise<Running> {
  const file = join(directory, 'config.json');
  await writeFile(file, JSON.stringify({ stateDirectory: join(directory, 'state'), ...config }));
  const child = spawn(process.execPath, [MAIN, command, '--config', file], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  const ended = once(child, 'exit');
  const running: Running = {
    get log() {
      return log;
    },
    said: (traceId) =>
      log
        .split('\n')
        .filter((line) => line.includes(traceId))
        .map((line) => (JSON.parse(line) as Line).msg),
    end: async () => {
      child.kill('SIGTERM');
      const [code] = await ended;
      return code as number | null;
    },
    [Symbol.asyncDispose]: async () => void (await running.end()),
  };
  return running;
}

async function untilItAnswers(ask: () => Promise<unknown>): Promise<void> {
  const signal = AbortSignal.timeout(60_000);
  while (!(await ask().then(Boolean, () => false))) await delay(20, undefined, { signal });
}

describe('what is done for one request', () => {
  const running = new AsyncDisposableStack();
  let registry: Registry;
  let collector: Collector;
  let supernode: Running;
  let operator: SupernodeClient;
  let joinToken: string;
  const hosts: { readonly process: Running; readonly client: AdminClient; readonly mirrorUrl: string }[] = [];

  beforeAll(async () => {
    registry = running.use(await startRegistry());
    collector = running.use(await startCollector());
    const { path } = running.use(await temporaryDirectory('tracing'));
    const common = {
      metrics: { port: 0 },
      log: { level: 'debug' },
      tracing: { otlp: { url: collector.url } },
    };
    const directoryOf = async (name: string) => {
      await mkdir(join(path, name));
      return join(path, name);
    };
    const directory = await directoryOf('supernode');
    const local = { address: LOOPBACK, port: 0, api: { port: 0 } };
    supernode = running.use(await startProcess('supernode', directory, { ...common, ...local }));
    operator = new SupernodeClient({ socketPath: join(directory, 'state', 'admin.sock') });
    await untilItAnswers(() => operator.status());
    const { address } = await operator.status();
    joinToken = (await operator.joinToken()).joinToken;
    for (const name of ['one', 'other']) {
      const directory = await directoryOf(name);
      const process = running.use(
        await startProcess('daemon', directory, {
          ...common,
          mirror: { port: 0 },
          native: { socket: join(directory, 'native.sock') },
          swarm: {
            ...{ supernode: address, joinToken, name, address: LOOPBACK, mdns: false },
            ...{ controlPort: 0, dataPort: 0 },
          },
        }),
      );
      const client = new AdminClient(join(directory, 'state', 'admin.sock'));
      await untilItAnswers(async () => (await client.status()).swarm?.supernode.up);
      hosts.push({ process, client, mirrorUrl: (await client.status()).mirrorUrl });
    }
  });
  afterAll(() => running[Symbol.asyncDispose]());

  /** @returns the image's only layer */
  async function push(repository: string): Promise<{ readonly reference: string; readonly digest: string }> {
    const layer = layerOf(tarArchive([{ name: 'data', data: noise(3_000_000, repository) }]));
    await pushImage(registry.url, imageOf({ layers: [layer] }), { repository, tag: 'latest' });
    return { reference: `${registry.host}/${repository}:latest`, digest: layer.digest };
  }

  /** As containerd does. */
  async function pull(host: number, repository: string, digest: string, traceId: string): Promise<void> {
    const url = `${hosts[host]?.mirrorUrl}/v2/${repository}/blobs/${digest}?ns=${registry.host}`;
    const answer = await fetch(url, { headers: { traceparent: traceparentOf(traceId) } });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-request-id')).toBe(traceId);
    expect((await answer.bytes()).length).toBeGreaterThan(3_000_000);
  }

  const spansOf = (traceId: string) => collector.spans.filter((span) => span.traceId === traceId);
  const parentOf = (span: CollectedSpan | undefined) =>
    collector.spans.find(({ spanId }) => spanId === span?.parentSpanId);

  test('has one trace id in the logs of its host, the supernode and the peer that gives', async () => {
    const { reference, digest } = await push('traced/one');
    await hosts[0]?.client.pull({ image: reference });
    const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
    await pull(1, 'traced/one', digest, traceId);
    await expect.poll(() => hosts[1]?.process.said(traceId)).toContain('the mirror has answered a request');
    await expect.poll(() => supernode.said(traceId)).toContain('a host wants a blob');
    await expect.poll(() => hosts[0]?.process.said(traceId)).toContain('a peer was given pieces');
  });

  test('is one trace at the collector, in which each knows for what it was done', async () => {
    const { reference, digest } = await push('traced/two');
    await hosts[0]?.client.pull({ image: reference });
    const traceId = '0af7651916cd43dd8448eb211c80319c';
    await pull(1, 'traced/two', digest, traceId);
    const find = (name: string) => spansOf(traceId).find((span) => span.name === name);
    const names = () => spansOf(traceId).map(({ name }) => name);
    await expect
      .poll(names)
      .toEqual(expect.arrayContaining(['mirror GET', 'host says want', 'pieces', 'give pieces']));
    const asked = find('mirror GET');
    expect(asked).toMatchObject({ service: 'drakkar-daemon', instance: 'other', parentSpanId: ASKED });
    expect(find('host says want')).toMatchObject({ service: 'drakkar-supernode', kind: 2 });
    expect(parentOf(find('host says want'))).toEqual(asked);
    const [given, pieces] = [find('give pieces'), find('pieces')];
    expect(given).toMatchObject({ service: 'drakkar-daemon', instance: 'one', kind: 2 });
    expect(parentOf(given)).toMatchObject({ name: 'pieces', instance: 'other', kind: 3 });
    expect(parentOf(pieces)).toEqual(asked);
    for (const span of spansOf(traceId).filter((each) => each !== asked))
      expect(parentOf(span)?.traceId, span.name).toBe(traceId);
    for (const secret of [joinToken, 'Drakkar-Grant', 'Drakkar-Member'])
      expect(collector.text.includes(secret), secret).toBe(false);
  });

  test('is followed from a job to what hosts do for it', async () => {
    const { reference } = await push('traced/three');
    const job = await operator.createJob({ kind: 'preheat', image: reference, content: 'layers' });
    const traceId = job.trace?.traceId ?? '';
    await expect.poll(async () => (await operator.job(job.id)).state).toBe('succeeded');
    await expect.poll(() => supernode.said(traceId)).toContain('a job has ended');
    for (const { process } of hosts)
      await expect.poll(() => process.said(traceId)).toContain('a task of the cluster is done');
    const tasks = () => spansOf(traceId).filter(({ name }) => name === 'task pull');
    await expect
      .poll(() =>
        tasks()
          .map(({ instance }) => instance)
          .sort(),
      )
      .toEqual(['one', 'other']);
    for (const task of tasks()) {
      const made = parentOf(task);
      expect(made).toMatchObject({ service: 'drakkar-supernode', name: 'job preheat' });
      expect(parentOf(made)).toMatchObject({ name: 'POST /api/v1/jobs', parentSpanId: '' });
    }
  });

  test('says in its error to which trace it belongs', async () => {
    const traceOf = (asked: Promise<unknown> | undefined) =>
      asked?.then(
        () => undefined,
        (error: DrakkarError) => String(error.details.traceId),
      );
    const pulled = await traceOf(hosts[0]?.client.pull({ image: `${registry.host}/traced/none:latest` }));
    await expect
      .poll(() => hosts[0]?.process.said(pulled ?? ''))
      .toContain('a request could not be answered');
    const inspected = await traceOf(hosts[0]?.client.snapshot('none'));
    expect(inspected).toMatch(/^[0-9a-f]{32}$/);
    expect(await traceOf(operator.job('0'.repeat(26)))).toMatch(/^[0-9a-f]{32}$/);
  });

  test('is done, and the log says which trace it was, when the collector does not answer', async () => {
    collector.setAway(true);
    const { digest } = await push('traced/four');
    const traceId = 'c0ffee7651916cd43dd8448eb211c803';
    await pull(0, 'traced/four', digest, traceId);
    await pull(1, 'traced/four', digest, traceId);
    for (const { process } of hosts) {
      await expect.poll(() => process.said(traceId)).toContain('the mirror has answered a request');
      await expect.poll(() => process.log).toContain('traces can’t be exported');
    }
    for (const each of [...hosts.map(({ process }) => process), supernode]) expect(await each.end()).toBe(0);
    expect(spansOf(traceId)).toEqual([]);
  });
});
