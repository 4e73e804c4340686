import { debianImage, imageOf, layerOfFile, pushImage, startRegistry } from '@drakkar/lab';
import { startHost } from '../cli/test/kit/drakkar.ts';
import { execFileSync } from 'node:child_process';
const packages = (process.argv[2] ?? 'python3').split(',');
const cmd = process.argv[3] ?? 'print("hello")';
await using registry = await startRegistry();
const debian = await debianImage({ packages, onStep: console.log });
const prog = packages[0]!.startsWith('python') ? ['python3', '-c', cmd] : packages[0] === 'nodejs' ? ['node', '-e', process.argv[3] ?? 'console.log("hello")'] : ['java', '-version'];
const image = imageOf({ layers: debian.layers.map(layerOfFile), config: { config: { Cmd: prog, Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'] } } });
await pushImage(registry.url, image, { repository: 'demo/x', tag: 'latest' });
const ref = `${registry.host}/demo/x:latest`;
const log = { level: process.env.LEVEL ?? 'warn' };
await using a = await startHost({ log });
const status = await a.client.status();
console.log(await a.drakkar('snapshot', 'build', '--push', ref));
await using b = await startHost({ log, native: { backend: 'fanotify' }, volumes: { backgroundDelayMs: 1000 }, snapshots: { trustedBuilders: [status.builderPublicKey] } });
const t0 = performance.now();
const r = await b.drakkar('run', ref);
console.log(performance.now() - t0, r);
console.log((await b.drakkar('--json', 'snapshot', 'ls')).stdout.slice(0, 600));
execFileSync('sh', ['-c', 'sync; echo 3 > /proc/sys/vm/drop_caches']);
const t1 = performance.now();
console.log(await b.drakkar('run', ref), performance.now() - t1);

for (let i = 0; i < 20; i++) { await new Promise((r) => setTimeout(r, 500)); const [x] = await b.client.snapshots(); console.log(x?.residency, x?.offlineReady); if (x?.offlineReady) break; }
execFileSync('sh', ['-c', 'sync; echo 3 > /proc/sys/vm/drop_caches']);
console.log((await b.drakkar('run', ref)).stdout, (await b.drakkar('snapshot', 'verify', ref)).stdout, (await b.drakkar('snapshot', 'ls')).stdout);
