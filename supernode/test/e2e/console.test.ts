import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { SupernodeClient } from '@drakkar/client';
import { startRedis, temporaryDirectory } from '@drakkar/lab';
import axe from 'axe-core';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { startSupernode, supernodeConfiguration } from '../../src/index.ts';
import { BLOB, cluster, SNAPSHOT } from '../kit/console-documents.ts';

const BUILD = join(import.meta.dirname, '../../console/build.ts');
/** HTML where people may write what they like. */
const HTML = '<img src=x onerror="document.title=1">';
const LOOKS = [
  { name: 'light', viewport: { width: 1280, height: 800 }, colorScheme: 'light' },
  { name: 'dark', viewport: { width: 1280, height: 800 }, colorScheme: 'dark' },
  { name: 'light at 360 px', viewport: { width: 360, height: 740 }, colorScheme: 'light' },
  { name: 'dark at 360 px', viewport: { width: 360, height: 740 }, colorScheme: 'dark' },
] as const;

const running = new AsyncDisposableStack();
let browser: Browser;
let place: Awaited<ReturnType<typeof begin>>;
let job: string;

/** A supernode in a directory of its own, which can be ended and begun again at the same address. */
async function begin(
  api: { port?: number; anonymousViewers?: boolean } = {},
  { directory, state = {} }: { directory?: string; state?: object } = {},
) {
  const path = directory ?? running.use(await temporaryDirectory('console')).path;
  const supernode = await startSupernode(
    supernodeConfiguration.complete({
      stateDirectory: path,
      state,
      address: '127.0.0.1',
      port: 0,
      metrics: { port: 0 },
      api: { port: 0, ...api },
      log: { level: 'error' },
    }),
  );
  const url = supernode.status().apiUrl;
  let isRunning = true;
  const end = async () => {
    if (isRunning) await supernode[Symbol.asyncDispose]();
    isRunning = false;
  };
  running.defer(end);
  return { url, path, end, local: new SupernodeClient({ socketPath: join(path, 'admin.sock') }) };
}

beforeAll(async () => {
  await promisify(execFile)(process.execPath, [BUILD]);
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  running.defer(() => browser.close());
  place = await begin({ anonymousViewers: true });
  const labels = { note: HTML };
  const spec = { kind: 'preheat', image: 'registry.example/team/app:1', target: { labels } } as const;
  ({ id: job } = await place.local.createJob(spec));
});
afterAll(() => running[Symbol.asyncDispose]());

/** A page, and what its browser complains about: errors, also those of the content security policy. */
async function open(
  url: string,
  options: BrowserContextOptions = {},
): Promise<{ page: Page; complaints: string[] }> {
  const context = await browser.newContext({ reducedMotion: 'reduce', ...options });
  onTestFinished(() => context.close());
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.goto(url);
  return { page, complaints };
}

/** Goes there, and waits until it is shown. */
async function goTo(page: Page, hash: string, title: string | RegExp): Promise<void> {
  await page.evaluate(`location.hash = ${JSON.stringify(hash)}`);
  await page.getByRole('heading', { level: 1, name: title }).waitFor();
  await page.getByText('Loading…').waitFor({ state: 'detached' });
}

/** What axe finds, in few words. */
async function barriers(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const found = (await page.evaluate('axe.run()')) as axe.AxeResults;
  return found.violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`),
  );
}

/** From where one may look already. */
async function signIn(page: Page, token: string): Promise<void> {
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByLabel('Token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('Live', { exact: true }).waitFor();
}

const overflow = (page: Page) => page.evaluate('document.documentElement.scrollWidth - innerWidth');

describe.each(LOOKS)('in $name', ({ viewport, colorScheme }) => {
  test('every page opens without a complaint, and without a barrier', async () => {
    const { page, complaints } = await open(place.url, { viewport, colorScheme });
    for (const [hash, title] of [
      ['#/overview', 'No hosts yet'],
      ['#/topology', 'Topology'],
      ['#/blobs', 'Blobs'],
      ['#/snapshots', 'Snapshots'],
      ['#/jobs', 'Jobs'],
      ['#/jobs/new', 'New job'],
      [`#/jobs/${job}`, /^preheat registry/],
      ['#/hosts', 'Hosts'],
      ['#/policies', 'Policies'],
      ['#/policies/new', 'New policy'],
      ['#/webhooks', 'Webhooks'],
      ['#/nowhere', 'There is no such page'],
    ] as const) {
      await goTo(page, hash, title);
      expect(await barriers(page), hash).toEqual([]);
      expect(await overflow(page), hash).toBe(0);
    }
    expect(complaints).toEqual([]);
  });

  test('so does every page of a cluster that is at work', async () => {
    const { page, complaints } = await open('about:blank', { viewport, colorScheme });
    for (const [path, document] of Object.entries(cluster(HTML)))
      await page.route(`${place.url}/api/v1${path}*`, (route) => route.fulfill({ json: document }));
    await page.goto(place.url);
    for (const [hash, title] of [
      ['#/overview', 'Overview'],
      ['#/topology', 'Topology'],
      ['#/topology?as=table', 'Topology'],
      ['#/blobs', 'Blobs'],
      [`#/blobs/${BLOB}`, 'Blob'],
      ['#/snapshots', 'Snapshots'],
      [`#/snapshots/${SNAPSHOT}`, /team\/app$/],
      ['#/hosts', 'Hosts'],
    ] as const) {
      await goTo(page, hash, title);
      expect(await barriers(page), hash).toEqual([]);
      expect(await overflow(page), hash).toBe(0);
    }
    expect(await page.getByText(HTML).count()).toBeGreaterThan(0);
    expect(complaints).toEqual([]);
  });
});

test('what people have written is shown as text', async () => {
  const { page, complaints } = await open(`${place.url}/#/jobs/${job}`);
  await page.getByText(`labelled note=${HTML}`).waitFor();
  expect(await page.locator('main img').count()).toBe(0);
  expect(complaints).toEqual([]);
});

test('the keyboard leads everywhere', async () => {
  const { page } = await open(place.url);
  await page.getByRole('navigation').waitFor();
  const reached: string[] = [];
  const focused = () =>
    page.evaluate(
      '(document.activeElement.textContent || document.activeElement.getAttribute("role") || "").trim()',
    );
  for (let step = 0; step < 12; step += 1) {
    await page.keyboard.press('Tab');
    reached.push(String(await focused()));
  }
  expect(reached).toEqual(
    expect.arrayContaining(['Skip to the page', 'combobox', 'Overview', 'Topology', 'Policies', 'Sign in']),
  );
  await page.getByRole('link', { name: 'Jobs' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'Jobs' }).waitFor();
  await expect.poll(focused).toBe('Jobs');
  await page.keyboard.press('/');
  await page.keyboard.type('team');
  await page.getByRole('option', { name: /preheat registry.example\/team\/app:1/ }).waitFor();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: /^preheat registry/ }).waitFor();
});

test('who has no token is asked for one, and it never stands in an address', async () => {
  const closed = await begin();
  const { text: token } = await closed.local.createToken({ name: 'console', role: 'operator' });
  const { page } = await open(closed.url);
  const addresses: string[] = [];
  page.on('request', (request) => addresses.push(request.url()));
  await page.getByLabel('Token').fill('drk_wrong');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('The supernode does not know this token').waitFor();
  expect(await barriers(page)).toEqual([]);
  await page.getByLabel('Token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('Live', { exact: true }).waitFor();

  await page.getByRole('link', { name: 'Make a preheat job' }).click();
  await page.getByLabel('Image').fill('registry.example/team/other:2');
  await page.getByRole('button', { name: 'Create job' }).click();
  await page.getByRole('heading', { level: 1, name: 'preheat registry.example/team/other:2' }).waitFor();
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('button', { name: 'Resume' }).waitFor();
  await page.getByRole('button', { name: 'Cancel job' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel job' }).click();
  await page.getByRole('button', { name: 'Retry' }).waitFor();

  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('Token').waitFor();
  expect(addresses.filter((address) => address.includes(token))).toEqual([]);
  expect(await page.evaluate('sessionStorage.length')).toBe(0);
});

test('a webhook can be tried, and says what was delivered', async () => {
  const { local } = place;
  const { id, path, secret } = await local.createWebhook({ name: 'tried', kind: 'generic' });
  const policy = await local.createPolicy({ name: 'apps', images: ['registry.example/team/*'] });
  onTestFinished(async () => {
    await local.removeWebhook(id);
    await local.removePolicy(policy.id);
  });
  const deliver = (secret: string) =>
    fetch(place.url + path, { method: 'POST', headers: { authorization: secret }, body: '{"images":[]}' });
  for (let number = 0; number < 25; number += 1) await deliver(secret);
  await deliver('wrong');
  const { text } = await local.createToken({ name: 'tries', role: 'operator' });
  const { page, complaints } = await open(place.url);
  await signIn(page, text);
  await goTo(page, '#/webhooks', 'Webhooks');
  await page.getByText(/^refused, /).waitFor();
  await page.getByText('Last deliveries').first().click();
  await page.getByRole('row', { name: /refused/ }).waitFor();
  await page.getByRole('button', { name: 'Next' }).click();
  await page.getByText('Page 2').waitFor();
  await page.getByRole('row', { name: /refused/ }).waitFor({ state: 'detached' });
  expect(await barriers(page)).toEqual([]);
  await page.getByText('Try it').click();
  await page.getByRole('button', { name: 'Try', exact: true }).click();
  const result = page.getByRole('status').filter({ hasText: 'It tells of 1 image' });
  await result.getByText('apps: builds its snapshot').waitFor();
  expect(await barriers(page)).toEqual([]);
  const delivery = page.getByLabel('Delivery to try');
  expect(JSON.parse(await delivery.inputValue())).toEqual({ images: ['registry.example/team/app:1.4'] });
  await delivery.fill(JSON.stringify({ images: ['elsewhere.example/b:2'] }));
  await page.getByRole('button', { name: 'Try', exact: true }).click();
  await result.getByText('zero-touch: nothing').waitFor();
  await delivery.fill('{"images": 7}');
  await page.getByRole('button', { name: 'Try', exact: true }).click();
  await page.getByRole('alert').getByText('this is no notification').waitFor();
  expect(complaints.filter((text) => !text.includes('400'))).toEqual([]);
  expect(await local.jobs()).toHaveLength(1);
});

test('a policy is made and changed in all that it says, and what is wrong stands at its field', async () => {
  const { local } = place;
  const { text } = await local.createToken({ name: 'policies', role: 'operator' });
  const { page } = await open(place.url);
  await signIn(page, text);
  await goTo(page, '#/policies/new', 'New policy');
  const fill = (label: string, value: string) => page.getByLabel(label, { exact: true }).fill(value);
  await fill('Name', 'Shop');
  await fill('Images', 'registry.example/shop/**\n{bad');
  await fill('Then only of images larger than, in MB', 'many');
  await fill('Builds at the same time', '5');
  await page.getByLabel('What they get').selectOption('start');
  await fill('Share of them, in %', '10');
  await fill('Or until so many have it', '3');
  await fill('Labels', 'rack=a1');
  const save = (name: string) => page.getByRole('button', { name, exact: true }).click();
  await save('Create policy');
  await page.getByRole('alert').getByText('What is wrong stands at its field.').waitFor();
  const wrong = await page.evaluate(
    `[...document.querySelectorAll('[aria-invalid="true"]')].map(({ labels }) => labels[0].textContent)`,
  );
  expect(wrong).toEqual([
    'Name',
    'Images',
    'Then only of images larger than, in MB',
    'Or until so many have it',
  ]);
  await expect.poll(() => page.evaluate('document.activeElement.value')).toBe('Shop');
  expect(await barriers(page)).toEqual([]);
  await fill('Name', 'shop');
  await fill('Images', 'registry.example/shop/**');
  await fill('Then only of images larger than, in MB', '100');
  await fill('Share of them, in %', '');
  await save('Create policy');
  const card = page.getByRole('listitem').filter({ has: page.getByRole('heading', { name: 'shop' }) });
  await card.getByRole('link', { name: 'Change' }).click();
  await page.getByRole('heading', { level: 1, name: 'Policy shop' }).waitFor();
  await fill('Forget snapshots that nobody starts, after days', '30');
  await page.getByLabel('It is in force').uncheck();
  await save('Save policy');
  await card.getByText('disabled').waitFor();
  const policy = (await local.policies()).find(({ name }) => name === 'shop');
  expect(policy).toMatchObject({
    ...{ enabled: false, minSizeBytes: 1e8, atOnce: 5, keepMs: 30 * 24 * 60 * 60_000, refreshMs: null },
    distribute: { content: 'start', target: { labels: { rack: 'a1' }, hosts: 3 }, parallelism: 100 },
  });
  await local.removePolicy(policy?.id ?? '');
});

test('who may only look is told so, and not signed out', async () => {
  const { page, complaints } = await open(`${place.url}/#/jobs/${job}`);
  await page.getByText('You are anybody, a viewer: it takes an operator to change jobs.').waitFor();
  const isDisabled = (name: string) => page.getByRole('button', { name, exact: true }).isDisabled();
  expect(await isDisabled('Pause')).toBe(true);
  for (const [hash, title, button] of [
    ['#/jobs/new', 'New job', 'Create job'],
    ['#/policies/new', 'New policy', 'Create policy'],
    ['#/policies', 'Policies', 'Disable'],
    ['#/webhooks', 'Webhooks', 'Create webhook'],
  ] as const) {
    await goTo(page, hash, title);
    await page.getByText('You are anybody, a viewer').waitFor();
    expect(await isDisabled(button), hash).toBe(true);
    expect(await barriers(page), hash).toEqual([]);
  }
  await page.getByText('Live', { exact: true }).waitFor();
  expect(complaints).toEqual([]);

  const { text } = await place.local.createToken({ name: 'does', role: 'operator', ttlMs: null });
  await page.getByRole('button', { name: 'Sign in with another token' }).click();
  await page.getByLabel('Token').fill(text);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('You are does, an operator: it takes an admin to make or delete webhooks.').waitFor();
  await page.getByText('does, operator', { exact: true }).waitFor();
  await goTo(page, `#/jobs/${job}`, /^preheat registry/);
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByRole('button', { name: 'Pause' }).waitFor();
});

test('of several supernodes it is seen who leads and who serves', async () => {
  const redis = running.use(await startRedis());
  const state = { redis: { url: redis.url } };
  const [first, second] = [
    await begin({ anonymousViewers: true }, { state }),
    await begin({ anonymousViewers: true }, { state }),
  ];
  const { page } = await open('about:blank');
  // Without hosts it would say how to begin.
  const overview = cluster(HTML)['/overview'];
  await page.route(`${second.url}/api/v1/overview`, (route) => route.fulfill({ json: overview }));
  await page.goto(second.url);
  const rows = page.getByRole('table', { name: 'Supernodes' }).getByRole('row');
  await rows.nth(2).waitFor();
  await rows.getByText('leads and serves').waitFor();
  await rows.getByText('serves', { exact: true }).waitFor();
  expect(await barriers(page)).toEqual([]);
  await first.end();
  await rows.getByText('serves', { exact: true }).waitFor({ state: 'detached' });
  await rows.getByText('leads and serves').waitFor();
});

test('it outlives the supernode, and shows what has happened meanwhile', async () => {
  const first = await begin({ anonymousViewers: true });
  const { page } = await open(`${first.url}/#/jobs`);
  await page.getByText('Live', { exact: true }).waitFor();
  await first.end();
  await page.getByRole('alert').getByText('Reconnecting.').waitFor();
  const port = Number(new URL(first.url).port);
  const second = await begin({ anonymousViewers: true, port }, { directory: first.path });
  await second.local.createJob({ kind: 'build', image: 'registry.example/team/later:3' });
  await page.getByText('Live', { exact: true }).waitFor();
  await page.getByRole('link', { name: 'build registry.example/team/later:3' }).waitFor();
  await second.local.createJob({ kind: 'build', image: 'registry.example/team/live:4' });
  await page.getByRole('link', { name: 'build registry.example/team/live:4' }).waitFor();
});
