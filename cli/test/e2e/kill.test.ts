import { setTimeout as delay } from 'node:timers/promises';
import type { StartResult } from '@drakkar/client';
import { listTree, processesWith, pushImage, type Registry, startRegistry } from '@drakkar/lab';
import { digestOf } from '@drakkar/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Host, startHost } from '../kit/drakkar.ts';
import { type FreshImage, pushFreshImage, SHELL } from '../kit/fresh-images.ts';
import { leftoversOf, NOTHING_LEFT } from '../kit/leftovers.ts';
import { builderOf } from '../kit/processes.ts';
import { type Chance, chanceOf } from '../kit/random.ts';

type Victim = 'daemon' | 'builder' | 'helper';
type Operation = 'pull' | 'build' | 'mount' | 'start';

interface Scenario {
  readonly victim: Victim;
  readonly operation: Operation;
  /** Kills that shall hit while the operation runs. */
  readonly kills: number;
  /** The snapshot is there before: only mounting is left to do. */
  readonly built: boolean;
}

/** 108 in all: in CI half of them on each backing; elsewhere as few as still hit everything. */
const SCENARIOS: readonly Scenario[] = [
  { victim: 'daemon', operation: 'pull', kills: 14, built: false },
  { victim: 'daemon', operation: 'build', kills: 20, built: false },
  { victim: 'daemon', operation: 'mount', kills: 10, built: true },
  { victim: 'daemon', operation: 'start', kills: 12, built: false },
  { victim: 'builder', operation: 'build', kills: 18, built: false },
  { victim: 'builder', operation: 'start', kills: 8, built: false },
  { victim: 'helper', operation: 'mount', kills: 12, built: true },
  { victim: 'helper', operation: 'start', kills: 14, built: true },
];
const KILLS_AT_HAND = 2;
/** A blow that comes when all is over is not counted; so many in vain are put up with for each that hits. */
const TRIES_PER_KILL = 4;
const CONDITION = { timeout: 20_000, interval: 25 };
/** Room for a few of the images: something is always being evicted. */
const QUOTA_BYTES = 96 * 1024 * 1024;

const isRoot = process.getuid?.() === 0;
/** Set it to what a failed run has said, to have the same images and delays again. */
const seed = process.env.DRAKKAR_TEST_SEED ?? String(Date.now());

describe.skipIf(!isRoot)(`killed at any moment (needs root; DRAKKAR_TEST_SEED=${seed})`, () => {
  /** Of the test at hand: one test alone has the same images and delays as among all. */
  let chance: Chance;
  let registry: Registry;
  let shellFiles: ReadonlyMap<string, string | undefined>;

  beforeAll(async () => {
    registry = await startRegistry();
    await using host = await startHost();
    await pushImage(registry.url, SHELL, { repository: 'shell', tag: 'latest' });
    const image = `${registry.host}/shell:latest`;
    await host.client.buildSnapshot({ image });
    shellFiles = await contentOf((await host.client.mountSnapshot(image)).path);
  });
  afterAll(() => registry?.[Symbol.asyncDispose]());

  const perform: Record<Operation, (host: Host, image: string) => Promise<unknown>> = {
    pull: (host, image) => host.client.pull({ image }),
    build: (host, image) => host.client.buildSnapshot({ image }),
    mount: (host, image) => host.client.mountSnapshot(image),
    start: (host, image) => host.client.start({ image }),
  };

  /** How long it takes when nobody disturbs it: blows are spread over that. */
  async function measure(host: Host, { operation, built }: Scenario): Promise<number> {
    const image = await pushFreshImage(registry, chance);
    if (built) await host.client.buildSnapshot({ image: image.reference });
    const startMs = performance.now();
    await perform[operation](host, image.reference);
    const elapsedMs = performance.now() - startMs;
    await host.kill('daemon');
    await host.start();
    await clear(host);
    return elapsedMs;
  }

  /** Unmounts and forgets everything. What is in the way is a failure. */
  async function clear(host: Host): Promise<void> {
    for (const { manifestDigest, path } of await host.client.snapshots()) {
      if (path !== null) await host.client.umountSnapshot(manifestDigest);
      await host.client.removeSnapshot(manifestDigest);
    }
    await expect.poll(() => leftoversOf(host), CONDITION).toEqual(NOTHING_LEFT);
  }

  async function strike(host: Host, victim: Victim, builder: number | undefined): Promise<boolean> {
    if (victim !== 'builder') await host.kill(victim);
    else if (builder !== undefined) process.kill(builder, 'SIGKILL');
    return victim !== 'builder' || builder !== undefined;
  }

  interface Blow {
    /** Whether it came while the operation ran. */
    readonly hit: boolean;
    /** What the operation gave where it ended well all the same, else its error. */
    readonly result: unknown;
    /** A builder that must be gone. */
    readonly builder: number | undefined;
  }

  async function killDuring(
    host: Host,
    scenario: Scenario,
    image: FreshImage,
    durationMs: number,
  ): Promise<Blow> {
    let ended = false;
    const outcome = perform[scenario.operation](host, image.reference)
      .catch((error: unknown) => error)
      .finally(() => {
        ended = true;
      });
    await delay(chance.next() * durationMs);
    const inTime = !ended;
    const builder = builderOf(host.daemonPid);
    const struck = await strike(host, scenario.victim, builder);
    // Half of the times as whoever supervises it does; else the daemon waits in vain.
    if (scenario.victim === 'helper' && chance.next() < 0.5) await host.start();
    return { hit: struck && inTime, result: await outcome, builder };
  }

  /** Everything that the host says it has is whole and right. */
  async function expectWholeSnapshots(host: Host, image: FreshImage): Promise<void> {
    for (const { manifestDigest, offlineReady } of await host.client.snapshots()) {
      if (!offlineReady) continue;
      await host.client.verifySnapshot(manifestDigest);
      const { path } = await host.client.mountSnapshot(manifestDigest);
      expect(await contentOf(path)).toEqual(new Map([...shellFiles, ...image.files]));
    }
  }

  async function expectRightBytes(host: Host, { repository, layers }: FreshImage): Promise<void> {
    const { mirrorUrl } = await host.client.status();
    for (const { digest } of layers) {
      const url = new URL(`/v2/${repository}/blobs/${digest}?ns=${registry.host}`, mirrorUrl);
      const response = await fetch(url);
      expect(response.status).toBe(200);
      expect(digestOf(Buffer.from(await response.arrayBuffer()))).toBe(digest);
    }
  }

  async function expectToSucceed(host: Host, { operation }: Scenario, image: FreshImage): Promise<void> {
    const result = await perform[operation](host, image.reference);
    if (isStart(result)) {
      expect(await contentOf(result.rootfs)).toEqual(new Map([...shellFiles, ...image.files]));
      await host.client.endStart(result.id);
    }
    if (operation !== 'pull') await host.client.buildSnapshot({ image: image.reference });
    await expectWholeSnapshots(host, image);
    await expectRightBytes(host, image);
  }

  describe.each(['file', 'loop'] as const)('on volumes from backing %s', (backing) => {
    let host: Host;
    beforeAll(async () => {
      host = await startHost({ native: { backing }, store: { quotaBytes: QUOTA_BYTES } });
    });
    afterAll(() => host?.[Symbol.asyncDispose]());

    test.each(SCENARIOS)('$victim during $operation (built before: $built)', async (scenario) => {
      chance = chanceOf([seed, backing, scenario.victim, scenario.operation].join());
      const kills = process.env.CI === 'true' ? Math.ceil(scenario.kills / 8) : KILLS_AT_HAND;
      let durationMs = await measure(host, scenario);
      let hits = 0;
      for (let tries = 0; hits < kills && tries < kills * TRIES_PER_KILL; tries += 1) {
        const image = await pushFreshImage(registry, chance);
        if (scenario.built) await host.client.buildSnapshot({ image: image.reference });
        const { hit, result, builder } = await killDuring(host, scenario, image, durationMs);
        if (hit) hits += 1;
        // It was quicker than the one that was measured: the next blow comes sooner.
        else durationMs *= 0.7;
        await host.start();
        if (isStart(result)) await host.client.endStart(result.id);
        await expect.poll(() => processesWith('builder-process'), CONDITION).not.toContain(builder);
        await expect.poll(() => leftoversOf(host), CONDITION).toEqual(NOTHING_LEFT);
        if (chance.next() < 0.5) await expectRightBytes(host, image);
        await expectWholeSnapshots(host, image);
        await expectToSucceed(host, scenario, image);
        await clear(host);
      }
      expect(hits).toBe(kills);
    });
  });
});

function isStart(result: unknown): result is StartResult {
  return typeof result === 'object' && result !== null && 'rootfs' in result;
}

/** What a tree holds: digests of files by path. */
async function contentOf(root: string): Promise<Map<string, string | undefined>> {
  const tree = await listTree(root);
  return new Map([...tree].map(([path, { sha256 }]) => [path, sha256]));
}
