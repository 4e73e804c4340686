import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { changeLayer, debianImage, layerOfFile, startContainerd } from '@drakkar/lab';
import { countedStart, movedBetween, movedTo, placeOf } from '../fleet/moved.ts';
import { emptyHost, expectGiven, seedSnapshot, startSeededFleet, untilComplete } from '../fleet/seeded.ts';
import { dropCaches } from '../runner/caches.ts';
import { ctrRun } from '../runner/containerd.ts';
import { firstOutput } from '../runner/first-output.ts';
import { pushLayers } from '../runner/images.ts';
import { atMost, type Result } from '../runner/results.ts';
import { type Moved, medianOf, takeSamples } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';

const COMMAND = ['python3', '-c', 'print("ready", flush=True)'];
/** What is changed is what a package has that another version of it changes: all of it. */
const FULL = {
  packages: ['python3', 'python3-numpy'],
  changed: 'usr/lib/python3/dist-packages/numpy',
} as const;
const QUICK = { packages: ['python3'], changed: 'usr/lib/python3.11/asyncio' } as const;
const RATE = 1e9;
const MAX_ROUNDS = 5;
const MEBIBYTE = 1024 ** 2;

const METHOD = [
  'In the second version one package has changed: every page of every file of it. The seed makes its snapshot upon that of the first.',
  'A client that has all of the first version and nothing else starts the second; what has come over its link, headers included, is counted at the first output and again when the volume is complete.',
  'containerd, which has the first version, pulls the second and starts it.',
].join(' ');

/** A host that has run an image runs the next version of it. */
export const update: Scenario = async ({ rounds, isQuick, onSample }) => {
  const subject = isQuick ? QUICK : FULL;
  const directory = await mkdtemp('/var/tmp/drakkar-update-');
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const seeded = stack.use(await startSeededFleet({ rate: RATE, namespaces: true, clients: [{}] }));
  const { fleet } = seeded;
  const [host] = seeded.clients;
  if (host === undefined) throw new Error('a fleet without clients');
  const containerd = stack.use(await startContainerd({ within: placeOf(host).within }));
  const { layers } = await debianImage({ packages: subject.packages });
  const [top] = layers.slice(-1);
  if (top === undefined) throw new Error('an image without layers');
  const { layer, ...changed } = await changeLayer(top, subject.changed, join(directory, 'changed'));
  const push = (tag: string, all: typeof layers) =>
    pushLayers(fleet.registry, all.map(layerOfFile), { repository: 'bench/update', tag, command: COMMAND });
  const first = await push('v1', layers);
  const second = await push('v2', [...layers.slice(0, -1), layer]);
  for (const { reference } of [first, second]) await seedSnapshot(seeded, reference);
  const runOf = ({ reference }: typeof first) => host.command(['run', '--net', 'none', reference]);
  let [startedMs, before]: [number, Moved] = [0, { linkBytes: 0 }];
  const series = await takeSamples(
    [
      {
        name: 'drakkar, start of v2',
        async measure() {
          await emptyHost(host);
          await firstOutput(runOf(first));
          await untilComplete(host);
          await dropCaches();
          before = await movedTo(host);
          startedMs = performance.now();
          return await countedStart(
            () => movedTo(host),
            (atOutput) => firstOutput(runOf(second), atOutput),
          );
        },
      },
      {
        name: 'drakkar, all of v2',
        async measure() {
          await untilComplete(host);
          await expectGiven(host);
          const moved = movedBetween(before, await movedTo(host));
          return { wallMs: performance.now() - startedMs, moved };
        },
      },
      {
        name: 'containerd, start of v2',
        async measure() {
          for (const { reference } of [first, second])
            await containerd.ctr(['images', 'rm', '--sync', reference]);
          await containerd.pull(first.reference);
          await dropCaches();
          const counters = async () => ({ linkBytes: await placeOf(host).receivedBytes() });
          return await countedStart(counters, async (atOutput) => {
            const pullMs = performance.now();
            await containerd.pull(second.reference);
            return (
              performance.now() - pullMs + (await firstOutput(ctrRun(containerd, second.reference), atOutput))
            );
          });
        },
      },
    ],
    Math.min(rounds, MAX_ROUNDS),
    onSample,
  );
  const linkBytes = (which: string) => medianOf(series, which, ({ moved }) => moved?.linkBytes);
  const result: Result = {
    name: 'update',
    title: `From one version to the next, ${Math.round(changed.changedBytes / MEBIBYTE)} MiB changed, over 1 Gbit/s`,
    method: METHOD,
    series,
    input: { first, second, changed: subject.changed, ...changed, rate: RATE },
    claims: [
      atMost(
        'update: moved to start v2, against the changed bytes',
        linkBytes('drakkar, start of v2') / changed.changedBytes,
        '×',
        1.2,
      ),
      atMost(
        'update: moved for all of v2, against the changed bytes',
        linkBytes('drakkar, all of v2') / changed.changedBytes,
        '×',
        1.2,
      ),
      atMost(
        'update: moved for all of v2, against the changed bytes by gzip',
        linkBytes('drakkar, all of v2') / changed.changedGzipBytes,
        '×',
        1.2,
      ),
    ],
  };
  return [result];
};
