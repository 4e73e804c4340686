import { randomBytes } from 'node:crypto';
import { type ImageLayer, layerOf, tarArchive } from '@drakkar/lab';
import type { FleetHost } from '../fleet/fleet.ts';
import { countedStart, movedBetween, movedTo } from '../fleet/moved.ts';
import { emptyHost, expectGiven, seedSnapshot, startSeededFleet, untilComplete } from '../fleet/seeded.ts';
import { dropCaches } from '../runner/caches.ts';
import { firstOutput } from '../runner/first-output.ts';
import { SMALL_COMMAND, smallImage } from '../runner/fresh-layers.ts';
import { pushLayers } from '../runner/images.ts';
import { atMost } from '../runner/results.ts';
import { median, type Sample } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';

const RATE = 100e6;
const FULL = { hosts: 8, files: 50, fileBytes: 2 * 1024 ** 2, changedFiles: 10 };
const QUICK = { hosts: 2, files: 10, fileBytes: 256 * 1024, changedFiles: 2 };
const MAX_ROUNDS = 3;

const METHOD = [
  'The top layer has files of random bytes, some of which are others in the second version. One host makes the snapshots, that of the second upon that of the first.',
  'All other hosts have all of the first version. At the same moment they start the second, and complete it without a pause; what has come over the link of each, headers included, is counted when all of the volume is there.',
].join(' ');

interface Version {
  readonly reference: string;
}

/** A whole fleet goes from one version to the next at once. */
export const updateWave: Scenario = async ({ rounds, isQuick, onSample }) => {
  const { hosts, files, fileBytes, changedFiles } = isQuick ? QUICK : FULL;
  const changedBytes = changedFiles * fileBytes;
  await using seeded = await startSeededFleet({
    rate: RATE,
    namespaces: true,
    clients: Array.from({ length: hosts }, () => ({ volumes: { backgroundDelayMs: 0 } })),
  });
  const { fleet, clients, seed } = seeded;
  const runOf = (host: FleetHost, { reference }: Version) =>
    firstOutput(host.command(['run', '--net', 'none', reference]));
  const series: Record<'started' | 'complete', Sample[]> = { started: [], complete: [] };
  const linkBytes: number[] = [];
  const seedBytes: number[] = [];
  for (let round = 0; round < Math.min(rounds, MAX_ROUNDS); round += 1) {
    const base = smallImage(1, fileBytes).layers;
    const contents = Array.from({ length: files }, () => randomBytes(fileBytes));
    const first = await push(`v1-${round}`, [...base, topOf(contents)]);
    contents.splice(0, changedFiles, ...Array.from({ length: changedFiles }, () => randomBytes(fileBytes)));
    const second = await push(`v2-${round}`, [...base, topOf(contents)]);
    for (const { reference } of [first, second]) await seedSnapshot(seeded, reference);
    for (const host of clients) {
      await emptyHost(host);
      await runOf(host, first);
      await untilComplete(host);
    }
    await dropCaches();
    const sentBefore = await sentBy(seed);
    const beganMs = performance.now();
    const runs = await Promise.all(
      clients.map(async (host) => {
        const before = await movedTo(host);
        const started = await countedStart(
          () => movedTo(host),
          async (atOutput) => {
            const wallMs = await runOf(host, second);
            await atOutput();
            return wallMs;
          },
        );
        await untilComplete(host);
        await expectGiven(host);
        const moved = movedBetween(before, await movedTo(host));
        return { started, complete: { wallMs: performance.now() - beganMs, moved } };
      }),
    );
    series.started.push(...runs.map(({ started }) => started));
    series.complete.push(...runs.map(({ complete }) => complete));
    linkBytes.push(...runs.map(({ complete }) => complete.moved.linkBytes));
    seedBytes.push((await sentBy(seed)) - sentBefore);
    onSample('slowest host, all of v2', round, {
      wallMs: Math.max(...runs.map(({ complete }) => complete.wallMs)),
    });
  }
  return [
    {
      name: 'update-wave',
      title: `${hosts} hosts go to the next version at once, ${Math.round(changedBytes / 1024 ** 2)} MiB changed, links of 100 Mbit/s`,
      method: METHOD,
      series: [
        { name: 'drakkar, start of v2', samples: series.started },
        { name: 'drakkar, all of v2', samples: series.complete },
      ],
      input: { hosts, files, fileBytes, changedFiles, rate: RATE, linkBytes, seedBytes },
      claims: [
        atMost(
          'update wave: over the link of a host, against the changed bytes',
          median(linkBytes) / changedBytes,
          '×',
          1.2,
        ),
        atMost(
          'update wave: what the host sent that has made it, against the changed bytes',
          median(seedBytes) / changedBytes,
          '×',
          2,
        ),
      ],
    },
  ];

  function push(tag: string, layers: readonly ImageLayer[]): Promise<Version> {
    return pushLayers(fleet.registry, layers, { repository: 'bench/wave', tag, command: SMALL_COMMAND });
  }
};

const topOf = (contents: readonly Buffer[]): ImageLayer =>
  layerOf(tarArchive(contents.map((data, index) => ({ name: `data/file-${index}`, data }))), {
    compression: 'none',
  });

async function sentBy({ client }: FleetHost): Promise<number> {
  return (await client.status()).swarm?.sentBytes ?? 0;
}
