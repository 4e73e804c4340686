import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Digest, digestOf, hexOf } from '@drakkar/protocol';

/** A volume's raw files in a content directory, made by mkfs.erofs: small files inline, chunks on one device. */
export interface SampleVolume {
  readonly meta: Digest;
  readonly devices: readonly Digest[];
  /** What `hello` in its root says. */
  readonly text: string;
}

/** Writes a sample volume into `content`; different `text`, different volume. */
export function sampleVolume(content: string, text = 'hello'): SampleVolume {
  const work = join(content, 'sample-source');
  mkdirSync(join(work, 'directory'), { recursive: true });
  writeFileSync(join(work, 'hello'), text);
  writeFileSync(join(work, 'directory', 'chunks'), Buffer.alloc(256 * 1024, text));
  const [meta, device] = [join(content, 'sample.meta'), join(content, 'sample.device')];
  execFileSync('mkfs.erofs', ['--quiet', '--chunksize=4096', `--blobdev=${device}`, meta, work]);
  const install = (path: string) => {
    truncateSync(path, Math.ceil(statSync(path).size / 4096) * 4096);
    const digest = digestOf(readFileSync(path));
    renameSync(path, join(content, hexOf(digest)));
    return digest;
  };
  const devices = [install(device)];
  const digest = install(meta);
  rmSync(work, { recursive: true });
  return { meta: digest, devices, text };
}
