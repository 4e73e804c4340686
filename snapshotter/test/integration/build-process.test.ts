import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type ImageLayer, tarHeader, temporaryDirectory } from '@drakkar/lab';
import { digestFromHex, digestOf } from '@drakkar/protocol';
import { describe, expect, it, vi } from 'vitest';
import { buildLayers } from '../support/builds.ts';

const MEBIBYTE = 1024 * 1024;
/** What is left of 384 MiB beside the daemon, with room to spare. */
const PEAK_BYTES = 200 * MEBIBYTE;

/** A plain tar of one file, each MiB of it different. */
async function* largeTar(mebibytes: number): AsyncGenerator<Uint8Array> {
  yield tarHeader({ name: 'large', size: mebibytes * MEBIBYTE });
  const part = Buffer.alloc(MEBIBYTE);
  for (let index = 0; index < part.length; index += 32) {
    part.set(
      createHash('sha256')
        .update(`${index % 50_000}`)
        .digest(),
      index,
    );
  }
  for (let index = 0; index < mebibytes; index++) {
    part.writeUInt32LE(index, 0);
    yield Buffer.from(part);
  }
  yield Buffer.alloc(1024);
}

describe('the builder process', () => {
  it('needs no more memory for a large layer than for a small one', async () => {
    const digest = createHash('sha256');
    let sizeBytes = 0;
    for await (const part of largeTar(600)) {
      digest.update(part);
      sizeBytes += part.length;
    }
    const diffId = digestFromHex(digest.digest('hex'));
    const layer: ImageLayer = { digest: diffId, diffId, sizeBytes, mediaType: '', content: { path: '' } };
    await using directory = await temporaryDirectory('build');
    const result = await buildLayers([layer], directory.path, {
      modules: { openLayer: () => largeTar(600) },
    });
    expect(result.devices[0]?.file.rawSizeBytes).toBe(600 * MEBIBYTE);
    expect(result.stats.peakRssBytes).toBeLessThan(PEAK_BYTES);

    await using other = await temporaryDirectory('build');
    const whole = { path: 'large', offset: 0, length: 600 * MEBIBYTE };
    const ordered = await buildLayers([layer], other.path, {
      request: { reads: [whole] },
      modules: { openLayer: () => largeTar(600) },
    });
    // No start reads more than half a GiB.
    const sizes = ordered.config.devices.map(({ rawSizeBytes }) => rawSizeBytes / MEBIBYTE);
    expect(sizes).toEqual([600, 512]);
    expect(ordered.stats.peakRssBytes).toBeLessThan(PEAK_BYTES);
    expect(result.reservedBytes).toBeGreaterThan(600 * MEBIBYTE);
  });

  it('ends with its parent, even if that is killed', async () => {
    await using directory = await temporaryDirectory('build');
    const program = `
      import { buildSnapshot } from ${JSON.stringify(fileURLToPath(new URL('../../src/index.ts', import.meta.url)))};
      const digest = ${JSON.stringify(digestOf('x'))};
      await buildSnapshot(
        { image: 'x', manifestDigest: digest, layers: [{ digest, sizeBytes: 10 }], diffIds: [digest], createdSeconds: 0, outputDir: process.argv[1] },
        {
          openLayer: async function* () { await new Promise(() => setInterval(() => {}, 60_000)); },
          reserve: async () => {},
          onProgress: () => console.log('building'),
        },
        { signal: new AbortController().signal },
      );`;
    const parent = spawn(process.execPath, ['--input-type=module', '-e', program, directory.path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(createInterface(parent.stdout), 'line');
    const [task] = readdirSync(`/proc/${parent.pid}/task`);
    const children = readFileSync(`/proc/${parent.pid}/task/${task}/children`, 'latin1').trim().split(' ');
    const builder = children.find((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('builder-process'),
    );
    expect(builder).toBeDefined();
    const exited = once(parent, 'exit');
    parent.kill('SIGKILL');
    await exited;
    await vi.waitFor(() => expect(existsSync(`/proc/${builder}/exe`)).toBe(false), { timeout: 30_000 });
  });
});
