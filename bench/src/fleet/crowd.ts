/**
 * A process full of daemons' links to one supernode: real connections, each with a key of its own, and nothing behind them.
 * Orders come on stdin, one JSON document a line; answers go to stdout in the same way.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadSwarm } from '@drakkar/daemon';
import { blobKeyOf, digestOf, parseJoinToken, parseSupernodeAddress, rawOf } from '@drakkar/protocol';
import { startNode } from '@drakkar/wire';
import { pino } from 'pino';
import { type CrowdOrders, type CrowdReport, LAYERS, TASK_BYTES } from './crowd-orders.ts';

/** Handshakes at the same time. */
const CONNECTING = 4;
const TASK_PARTS = 4;
const TASK_PART_MS = 500;
const SILENT = pino({ level: 'silent' });

const { Standing, Supernodes } = await loadSwarm();

interface CrowdHost {
  readonly link: InstanceType<typeof Supernodes>;
  readonly waiting: Map<string, (ms: number) => void>;
}

async function join(orders: CrowdOrders, index: number): Promise<CrowdHost> {
  const key = generateKeyPairSync('ed25519').privateKey;
  const token = parseJoinToken(orders.joinToken);
  const node = await startNode({ key, listen: [] });
  const standing = await Standing.open(
    `${orders.directory}/host-${process.pid}-${index}.json`,
    node.peer,
    token,
    SILENT,
  );
  const waiting = new Map<string, (ms: number) => void>();
  const link: CrowdHost['link'] = new Supernodes({
    addresses: [parseSupernodeAddress(orders.supernode)],
    host: {
      name: `host-${index}`,
      dataAddress: '127.0.0.1:1',
      controlAddress: '127.0.0.1:1',
      labels: { rack: `rack-${index % 50}` },
      uploadSlots: 8,
      roles: [],
    },
    node,
    standing,
    joinSecret: token.secret,
    log: SILENT,
    events: {
      advice: ({ blob }) => {
        const answered = waiting.get(blobKeyOf(blob));
        waiting.delete(blobKeyOf(blob));
        answered?.(performance.now());
      },
      named: () => {},
      found: () => {},
      task: (task) => {
        if (task.work.case !== undefined) void doTask(link, task.id, task.work.case);
      },
      cancelTask: () => {},
      revoked: () => {},
      changed: () => {},
      complete: () => [],
      figures: () => ({ beat: () => ({ uploads: 0 }), [Symbol.dispose]: () => {} }),
    },
  });
  link.start();
  return { link, waiting };
}

/** As if it were done: some progress, and then all of it. */
async function doTask(link: InstanceType<typeof Supernodes>, id: string, work: string): Promise<void> {
  const totalBytes = BigInt(TASK_BYTES);
  link.task({ id });
  for (let part = 1; part < TASK_PARTS; part += 1) {
    await sleep(Math.random() * 2 * TASK_PART_MS);
    link.task({
      id,
      phase: 'download',
      doneBytes: (totalBytes * BigInt(part)) / BigInt(TASK_PARTS),
      totalBytes,
    });
  }
  const image = {
    root: rawOf(digestOf('index')),
    manifest: rawOf(digestOf('manifest')),
    platform: 'linux/amd64',
  };
  link.task({
    id,
    result: { sizeBytes: totalBytes, peerBytes: totalBytes, ...(work === 'resolve' ? image : {}) },
  });
}

/** A host wants the layers of an image that others of its group want, too, and gives them up when it was told of those. */
async function ask(host: CrowdHost, image: string): Promise<number[]> {
  const names = Array.from({ length: LAYERS }, (_, layer) => ({
    digest: digestOf(`${image} ${layer}`),
    origin: 'bench',
  }));
  const sentMs = performance.now();
  const answers = names.map((name) => {
    const answered = new Promise<number>((resolve) => host.waiting.set(blobKeyOf(name), resolve));
    host.link.want({ name, sizeBytes: 200e6, pieces: 191 }, 0);
    return answered;
  });
  const answeredMs = await Promise.all(answers);
  for (const name of names) host.link.giveUp(name);
  return answeredMs.map((ms) => ms - sentMs);
}

async function main(): Promise<void> {
  const orders = JSON.parse(process.argv[2] ?? '{}') as CrowdOrders;
  const hosts: CrowdHost[] = [];
  const indexes = Array.from({ length: orders.hosts }, (_, index) => index).values();
  const connectNext = async () => {
    for (const index of indexes) {
      const host = await join(orders, index);
      hosts.push(host);
      while (!host.link.isUp) await sleep(5);
    }
  };
  await Promise.all(Array.from({ length: CONNECTING }, connectNext));
  const up = () => hosts.filter(({ link }) => link.isUp).length;
  const say = (report: CrowdReport) => process.stdout.write(`${JSON.stringify(report)}\n`);
  say({ up: up(), answerMs: [] });
  for await (const line of createInterface(process.stdin)) {
    // `ask SECONDS PAUSE`: each host asks, waits for its answers, and pauses for so many milliseconds on average.
    const [order, seconds, pauseMs] = line.split(' ');
    const answerMs: number[] = [];
    if (order === 'ask') {
      const endMs = performance.now() + Number(seconds) * 1000;
      const run = randomBytes(8).toString('hex');
      await Promise.all(
        hosts.map(async (host, index) => {
          for (let round = 0; ; round += 1) {
            await sleep(Math.random() * 2 * Number(pauseMs));
            if (performance.now() >= endMs) break;
            answerMs.push(...(await ask(host, `${run} ${Math.floor(index / 10)} ${round}`)));
          }
        }),
      );
    }
    say({ up: up(), answerMs });
  }
}

await main();
