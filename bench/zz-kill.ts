import { execFileSync, spawnSync, execFile } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync, rmSync } from 'node:fs';
import { promisify } from 'node:util';
import { setTimeout as delay } from 'node:timers/promises';
import { nativeHelper, startHelper } from '@drakkar/daemon';
import { feed, lazyVolume } from '../daemon/test/kit/lazy-volume.ts';
const run = promisify(execFile);
const dir = '/tmp/w/zk'; rmSync(dir, { recursive: true, force: true }); mkdirSync(dir + '/content', { recursive: true }); mkdirSync(dir + '/blobs');
const opts = { root: dir + '/root', content: dir + '/content', blobs: dir + '/blobs', socket: dir + '/s', uid: 0, readDeadlineMs: 20000, signal: AbortSignal.timeout(600_000) };
await using h = await startHelper(opts);
await using helper = nativeHelper(opts.socket);
const holders = () => readdirSync('/proc').flatMap((n) => { try { const w = /^\d+$/.test(n) ? readFileSync(`/proc/${n}/cmdline`, 'utf8').split('\0') : []; return w[1] === 'hold' && w[2]?.startsWith(dir) ? [Number(n)] : []; } catch { return []; } });
let kills = 0;
const mode = process.argv[2] ?? 'both';
for (let round = 0; round < Number(process.argv[3] ?? 10); round++) {
  const v = lazyVolume(opts.content, opts.blobs, { files: 4, fileBytes: 512 * 1024, blockBytes: 16 * 1024 });
  const m = await helper.mountVolume({ volume: 'v', ...v.mount, backend: 'fanotify' });
  const stop = new AbortController();
  const feeding = feed(helper, [v], stop.signal, () => delay(Math.random() * 20));
  let done = false; const log: string[] = [];
  const t0 = performance.now();
  const reading = Promise.all([...v.files].map(async ([name, bytes]) => {
    try {
      const { stdout } = await run('cat', [`${m.path}/${name}`], { encoding: 'buffer', maxBuffer: 1e8 });
      if (!stdout.equals(bytes)) { const bad = []; for (let i = 0; i < bytes.length; i += 4096) if (!stdout.subarray(i, i + 4096).equals(bytes.subarray(i, i + 4096))) bad.push(`${i / 4096}${stdout.subarray(i, i + 4096).every((b) => b === 0) ? 'z' : '?'}`); return `${name} WRONG ${bad.join(' ')}`; }
    } catch (e) { return `${name} ${(e as any).stderr}`; }
    return '';
  })).finally(() => { done = true; });
  while (!done) {
    await delay(8 + Math.random() * 15);
    const hs = holders(); const targets = [];
    if (mode !== 'worker' && Math.random() < 0.6) targets.push(hs[Math.floor(Math.random() * hs.length)]);
    if (mode !== 'holder' && Math.random() < 0.4) targets.push(helper.workerPid);
    for (const p of targets) try { if (p) { process.kill(p, 'SIGKILL'); kills++; log.push(`${Math.round(performance.now() - t0)} ${p === helper.workerPid ? 'W' : 'H'}${p} of ${hs}`); } } catch {}
  }
  const bad = (await reading).filter(Boolean);
  stop.abort(); await feeding;
  console.log(round, Math.round(performance.now() - t0), 'ms', kills, bad, holders());
  if (bad.length) { console.log(log.join('\n')); console.log(readFileSync(dir + '/root/holder.log', 'utf8').split('\n').slice(-20).join('\n')); }
  for (let i = 0; i < 100; i++) { try { await helper.umountVolume('v'); break; } catch (e) { if (i === 99) throw e; await delay(50); } }
  if (bad.length) break;
}
