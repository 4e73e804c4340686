/** Writes an OCI layout: image-layout DIRECTORY TREE…, a layer for each tree. The same trees make the same image. */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGzip } from 'node:zlib';
import document from '../package.json' with { type: 'json' };

const [directory = '', ...trees] = process.argv.slice(2);
/** 2020-09-13. */
const MADE_SECONDS = 1_600_000_000;
const TAR = [
  '--sort=name',
  `--mtime=@${MADE_SECONDS}`,
  '--owner=0',
  '--group=0',
  '--numeric-owner',
  '--format=posix',
];
const OCI = 'application/vnd.oci.image';
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64' };

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const blobs = join(directory, 'blobs', 'sha256');

async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

async function keep(path: string, mediaType: string): Promise<Descriptor> {
  const digest = await sha256(path);
  const { size } = await stat(path);
  await rename(path, join(blobs, digest));
  return { mediaType, digest: `sha256:${digest}`, size };
}

async function put(content: object, mediaType: string): Promise<Descriptor> {
  const path = join(directory, 'making');
  await writeFile(path, JSON.stringify(content));
  return await keep(path, mediaType);
}

/** @returns it, and the digest of what is in it */
async function layer(tree: string): Promise<{ readonly layer: Descriptor; readonly diffId: string }> {
  const path = join(directory, 'making');
  const times = '--pax-option=delete=atime,delete=ctime';
  const tar = spawn('tar', ['--create', ...TAR, times, '--directory', tree, '.'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const inside = createHash('sha256');
  tar.stdout.on('data', (bytes: Buffer) => inside.update(bytes));
  await pipeline(tar.stdout, createGzip(), createWriteStream(path));
  return { layer: await keep(path, `${OCI}.layer.v1.tar+gzip`), diffId: `sha256:${inside.digest('hex')}` };
}

await rm(directory, { recursive: true, force: true });
await mkdir(blobs, { recursive: true });
const layers = [];
for (const tree of trees) layers.push(await layer(tree));
const { stdout: revision } = await promisify(execFile)('git', ['rev-parse', 'HEAD']).catch(() => ({
  stdout: '',
}));
const labels = {
  'org.opencontainers.image.title': 'drakkar',
  'org.opencontainers.image.description': document.description,
  'org.opencontainers.image.version': document.version,
  'org.opencontainers.image.licenses': document.license,
  ...(revision === '' ? {} : { 'org.opencontainers.image.revision': revision.trim() }),
};
const config = await put(
  {
    architecture: ARCHITECTURES[process.arch] ?? process.arch,
    os: 'linux',
    created: new Date(MADE_SECONDS * 1_000).toISOString(),
    config: {
      User: '65532:65532',
      Env: [
        'PATH=/usr/bin',
        'DRAKKAR_NATIVE=/usr/lib/drakkar/drakkar-native',
        'NODE_COMPILE_CACHE=/tmp/drakkar',
      ],
      Entrypoint: ['/usr/bin/drakkar'],
      WorkingDir: '/',
      Labels: labels,
    },
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
  },
  `${OCI}.config.v1+json`,
);
const mediaType = `${OCI}.manifest.v1+json`;
const manifest = await put(
  { schemaVersion: 2, mediaType, config, layers: layers.map((each) => each.layer) },
  mediaType,
);
const named = { 'org.opencontainers.image.ref.name': `drakkar.dev/drakkar:${document.version}` };
const index = {
  ...{ schemaVersion: 2, mediaType: `${OCI}.index.v1+json` },
  manifests: [{ ...manifest, annotations: named }],
};
await writeFile(join(directory, 'index.json'), JSON.stringify(index));
await writeFile(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
