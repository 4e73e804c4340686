import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type JobDocument, SupernodeClient } from '@drakkar/client';
import { freePort, startRedis, temporaryDirectory } from '@drakkar/lab';
import { digestOf } from '@drakkar/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startHost } from '../kit/drakkar.ts';
import { chanceOf } from '../kit/random.ts';

const MAIN = join(import.meta.dirname, '../../src/main.js');
const isRoot = process.getuid?.() === 0;
const seed = process.env.DRAKKAR_TEST_SEED ?? String(Date.now());
/** Set DRAKKAR_KILLS to 200 to have as many as may be: it takes some minutes. */
const KILLS = Number(process.env.DRAKKAR_KILLS ?? (process.env.CI === 'true' ? 8 : 4));
const CALLERS = 4;
/** What a caller does, in turns, to one of its jobs: of age 0 the newest. */
const ACTIONS = [
  { action: 'pause', age: 0 },
  { action: 'cancel', age: 0 },
  { action: 'resume', age: 2 },
] as const;
/** Of one caller. Where hosts are seldom there no job ends by itself, and a supernode takes no more than a thousand. */
const MOST_OPEN = 100;
const SOON = { timeout: 120_000, interval: 200 };

/** A process of its own that can be killed and begun again. */
interface Mortal {
  readonly client: SupernodeClient;
  begin(): Promise<void>;
  kill(): Promise<void>;
}

async function mortal(directory: string, state: object): Promise<Mortal> {
  await mkdir(directory);
  const stateDirectory = join(directory, 'state');
  const configPath = join(directory, 'supernode.json');
  const config = {
    ...{ stateDirectory, state, address: '127.0.0.1', port: await freePort() },
    ...{ metrics: { port: 0 }, api: { port: 0 }, log: { level: 'error' } },
  };
  await writeFile(configPath, JSON.stringify(config));
  const client = new SupernodeClient({ socketPath: join(stateDirectory, 'admin.sock') });
  let child: ChildProcess;
  return {
    client,
    async begin() {
      child = spawn(process.execPath, [MAIN, 'supernode', '--config', configPath], {
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      const signal = AbortSignal.timeout(SOON.timeout);
      const answers = () => client.status({ signal }).then(Boolean, () => false);
      while (!(await answers())) {
        if (child.exitCode !== null) throw new Error(`the supernode ended with ${child.exitCode}`);
        await delay(20, undefined, { signal });
      }
    },
    async kill() {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}

const CLUSTERS = [
  { name: 'one alone', supernodes: 1 },
  { name: 'either of two over Redis', supernodes: 2 },
];

describe.skipIf(!isRoot).each(CLUSTERS)(
  `a supernode killed at any moment, $name (needs root; DRAKKAR_TEST_SEED=${seed})`,
  ({ supernodes }) => {
    const running = new AsyncDisposableStack();
    let mortals: Mortal[];
    let client: SupernodeClient;

    beforeAll(async () => {
      const directory = running.use(await temporaryDirectory('supernode-kills')).path;
      const state = supernodes > 1 ? { redis: { url: running.use(await startRedis()).url } } : {};
      mortals = await Promise.all(
        Array.from({ length: supernodes }, (_, index) => mortal(join(directory, `${index}`), state)),
      );
      await Promise.all(mortals.map(({ begin }) => begin()));
      running.defer(async () => void (await Promise.all(mortals.map(({ kill }) => kill()))));
      const [first] = mortals;
      if (first === undefined) throw new Error('no supernode');
      client = first.client;
      const { supernodes: all, joinToken } = await client.joinToken();
      const swarm = {
        supernode: all,
        joinToken,
        address: '127.0.0.1',
        controlPort: 0,
        dataPort: 0,
        mdns: false,
      };
      for (const name of ['one', 'two']) running.use(await startHost({ swarm: { ...swarm, name } }));
    });
    afterAll(() => running[Symbol.asyncDispose]());

    test('loses no job, does none twice, and leaves none stuck', { timeout: 30 * 60_000 }, async () => {
      const chance = chanceOf(seed);
      const asked = new Map<string, string>();
      const ending = new AbortController();
      /** As one whose connection breaks: again and again, until it is done. */
      const insist = async <Answer>(call: () => Promise<Answer>): Promise<Answer> => {
        for (;;) {
          try {
            return await call();
          } catch (error) {
            const isAway = ['unavailable', 'cancelled'].includes((error as { code?: string }).code ?? '');
            if (!isAway) throw error;
            await delay(20);
          }
        }
      };
      /** It may have ended by then. */
      const act = async (id: string | undefined, action: 'pause' | 'resume' | 'cancel') => {
        if (id !== undefined) await insist(() => client.actOnJob(id, action)).catch(() => {});
      };
      const callers = Array.from({ length: CALLERS }, async (_, caller) => {
        const mine: string[] = [];
        for (let number = 0; !ending.signal.aborted; number += 1) {
          const request = `request-${caller}-${number}`;
          const spec = { kind: 'evict' as const, digest: digestOf(request), parallelism: 1 };
          const job = await insist(() => client.createJob(spec, request));
          asked.set(request, job.id);
          mine.push(job.id);
          const { action, age } = ACTIONS[number % ACTIONS.length] as (typeof ACTIONS)[number];
          await act(mine.at(-1 - age), action);
          await act(mine.at(-MOST_OPEN), 'cancel');
          await delay(20);
        }
      });
      for (let kills = 0; kills < KILLS; kills += 1) {
        await delay(chance.next() * 500);
        const next = mortals[Math.floor(chance.next() * mortals.length)];
        await next?.kill();
        await next?.begin();
      }
      ending.abort();
      await Promise.all(callers);
      for (const [request, id] of asked) {
        const spec = { kind: 'evict' as const, digest: digestOf(request), parallelism: 1 };
        expect((await client.createJob(spec, request)).id).toBe(id);
      }
      const all = async (): Promise<JobDocument[]> => {
        const { data } = await client.api.GET('/api/v1/jobs', { params: { query: { limit: 500 } } });
        const jobs = [...(data?.items ?? [])];
        for (let next = data?.next; next; ) {
          const { data: page } = await client.api.GET('/api/v1/jobs', {
            params: { query: { limit: 500, after: next } },
          });
          jobs.push(...(page?.items ?? []));
          next = page?.next;
        }
        return jobs;
      };
      expect((await all()).map(({ id }) => id).sort()).toEqual([...asked.values()].sort());
      for (const { id, state } of await all())
        if (state === 'paused') await client.actOnJob(id, 'resume').catch(() => {});
      const open = async () =>
        (await all()).filter(({ endedAtMs }) => endedAtMs === null).map(({ id }) => id);
      await expect.poll(open, SOON).toEqual([]);
      for (const job of await all()) {
        // Nobody has had any of these blobs.
        expect(['failed', 'cancelled']).toContain(job.state);
        const { total, succeeded, cancelled } = job.hosts;
        expect(succeeded + cancelled).toBe(total);
      }
    });
  },
);
