import { chromium, type Page } from 'playwright-core';
import { HOSTS, QUICK_HOSTS, startManyHosts } from '../fleet/many-hosts.ts';
import { atMost, type Result } from '../runner/results.ts';
import { quantile } from '../runner/samples.ts';
import type { Scenario } from '../scenario.ts';

const CHROMIUM = '/usr/bin/chromium';
const FEWER = 1_000;
/** How long each page is looked at. */
const LOOK_MS = 6_000;
const QUICK_LOOK_MS = 500;

const METHOD = [
  'The supernode’s own page in Chromium, while hosts are connected that are nothing but their links, and a job over all of them is under way. Each view is opened, scrolled, and pointed at, and searched where it can be.',
  'A frame’s time is the distance from one of the page’s animation frames to the next.',
  'The hosts’ processes run at the lowest priority, so that they take from the supernode and the browser as little as other machines would.',
].join(' ');

interface View {
  readonly name: string;
  readonly hash: string;
  /** What people do there. */
  readonly use?: (page: Page) => Promise<void>;
}

const VIEWS: readonly View[] = [
  { name: 'overview', hash: '#/overview' },
  { name: 'topology', hash: '#/topology', use: pointAround },
  {
    name: 'hosts',
    hash: '#/hosts',
    async use(page) {
      await page.keyboard.press('/');
      await page.keyboard.type('host-77', { delay: 100 });
      await page.keyboard.press('Escape');
    },
  },
  { name: 'jobs', hash: '#/jobs' },
];

/** Whether the console can be used with as many hosts as there may be. */
export const consoleFrames: Scenario = async ({ isQuick, onSample }) => {
  if (isQuick) return [await measure(QUICK_HOSTS, QUICK_LOOK_MS, onSample)];
  const results: Result[] = [];
  for (const hosts of HOSTS > FEWER ? [FEWER, HOSTS] : [HOSTS])
    results.push(await measure(hosts, LOOK_MS, onSample));
  return results;
};

async function measure(
  hosts: number,
  lookMs: number,
  onSample: Parameters<Scenario>[0]['onSample'],
): Promise<Result> {
  await using stack = new AsyncDisposableStack();
  const { supernode } = await startManyHosts(hosts, stack);
  const { client } = supernode;
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
  stack.defer(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  await page.goto((await client.status()).apiUrl);
  const image = 'registry.example/app:1';
  const spec = { kind: 'preheat' as const, image, content: 'layers' as const };
  const { id } = await client.createJob({ ...spec, parallelism: Math.ceil(hosts / 50) });
  const series = [];
  for (const { name, hash, use } of [...VIEWS, { name: 'job', hash: `#/jobs/${id}` } as View]) {
    const frames = await watch(page, async () => {
      await page.evaluate(`location.hash = ${JSON.stringify(hash)}`);
      await page.mouse.wheel(0, 600);
      await use?.(page);
      await page.waitForTimeout(lookMs);
    });
    onSample(name, 0, { wallMs: quantile(frames, 0.99) });
    series.push({ name, samples: frames.map((wallMs) => ({ wallMs })) });
  }
  const all = series.flatMap(({ samples }) => samples.map(({ wallMs }) => wallMs));
  return {
    name: `console-${hosts}`,
    title: `The console with ${hosts} hosts: what frames took`,
    method: METHOD,
    series,
    input: {
      hosts,
      frames: all.length,
      longestMs: Math.max(...all),
      over50Ms: all.filter((wallMs) => wallMs > 50).length,
    },
    claims: [atMost(`console with ${hosts} hosts: a frame, p99`, quantile(all, 0.99), 'ms', 50)],
  };
}

/** What each frame took of the page's own thread, while something is done. */
async function watch(page: Page, work: () => Promise<void>): Promise<number[]> {
  await page.evaluate(`
    globalThis.frames = [];
    globalThis.isWatched = true;
    (function next(before) {
      requestAnimationFrame((now) => {
        globalThis.frames.push(now - before);
        if (globalThis.isWatched) next(now);
      });
    })(performance.now());
  `);
  await work();
  return (await page.evaluate('globalThis.isWatched = false; globalThis.frames')) as number[];
}

async function pointAround(page: Page): Promise<void> {
  for (let step = 0; step < 40; step += 1) await page.mouse.move(200 + step * 20, 200 + (step % 8) * 50);
}
