/**
 * Makes the pictures of the console that the documentation shows, of a made-up cluster: `node supernode/test/screenshots.ts`. It needs Chromium, and
 * the console as `scripts/setup` has built it.
 */
import { join } from 'node:path';
import { SupernodeClient } from '@drakkar/client';
import { temporaryDirectory } from '@drakkar/lab';
import { type BrowserContextOptions, chromium } from 'playwright-core';
import { startSupernode, supernodeConfiguration } from '../src/index.ts';
import { LARGE_SNAPSHOT, largeCluster } from './kit/large-cluster.ts';

const OUT = join(import.meta.dirname, '../../docs/console');
const WIDE: BrowserContextOptions = { viewport: { width: 1360, height: 900 }, colorScheme: 'light' };
const PICTURES: readonly {
  readonly file: string;
  readonly hash: string;
  readonly look: BrowserContextOptions;
}[] = [
  { file: 'overview', hash: '#/overview', look: WIDE },
  { file: 'overview-dark', hash: '#/overview', look: { ...WIDE, colorScheme: 'dark' } },
  { file: 'overview-phone', hash: '#/overview', look: { ...WIDE, viewport: { width: 390, height: 844 } } },
  { file: 'topology', hash: '#/topology', look: WIDE },
  { file: 'jobs', hash: '#/jobs', look: WIDE },
  { file: 'snapshot', hash: `#/snapshots/${encodeURIComponent(LARGE_SNAPSHOT)}`, look: WIDE },
];

await using directory = await temporaryDirectory('screenshots');
await using supernode = await startSupernode(
  supernodeConfiguration.complete({
    ...{ stateDirectory: directory.path, address: '127.0.0.1', port: 0, metrics: { port: 0 } },
    ...{ api: { port: 0 }, log: { level: 'error' } },
  }),
);
const { apiUrl } = supernode.status();
const local = new SupernodeClient({ socketPath: join(directory.path, 'admin.sock') });
const { text: token } = await local.createToken({ name: 'marta', role: 'operator', ttlMs: null });
const documents = largeCluster(Date.now());
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
try {
  for (const { file, hash, look } of PICTURES) {
    const page = await browser.newPage({ reducedMotion: 'reduce', ...look });
    await page.addInitScript(`sessionStorage.setItem('drakkar.token', '${token}')`);
    for (const [path, document] of Object.entries(documents))
      await page.route(
        (url) => url.pathname === `/api/v1${path}`,
        (route) => route.fulfill({ json: document }),
      );
    await page.goto(`${apiUrl}/${hash}`);
    await page.getByText('Live', { exact: true }).waitFor();
    await page.getByText('Loading…').waitFor({ state: 'detached' });
    await page.screenshot({ path: join(OUT, `${file}.png`), fullPage: true });
    await page.close();
  }
} finally {
  await browser.close();
}
