import { open, rm } from 'node:fs/promises';
import type {
  BuildResult,
  BuildSnapshotRequest,
  SnapshotDetail,
  SnapshotSummary,
  VerifyResult,
} from '@drakkar/client';
import { type Digest, DrakkarError, errnoOf, shortDigest, toDrakkarError } from '@drakkar/protocol';
import { defineCommand } from '../command-line/command.ts';
import { PLATFORM } from '../command-line/options.ts';
import { type Context, showing } from '../context.ts';
import { formatAge, formatBytes, formatCount, formatDuration, formatTable } from '../output/format.ts';

const NAMES = 'A snapshot is named by its image, its manifest digest, or the first hex digits of that.';

/** What the commands that take one snapshot have in common. */
const ONE = { notes: NAMES, positionals: ['<snapshot>'], options: {} } as const;

/** `drakkar snapshot …` */
export const commands = [
  defineCommand({
    name: 'snapshot build',
    summary: 'make sure that a snapshot is here: known, found in the cluster or the registry, or built',
    positionals: ['<image>'],
    options: {
      platform: PLATFORM,
      push: { summary: 'push the snapshot to the image’s registry, where other hosts find it' },
      rebuild: { summary: 'build even where a snapshot is known' },
    },
    run: (context, [image], flags) => build(context, { image, ...flags }),
  }),
  defineCommand({
    name: 'snapshot ls',
    summary: 'list the snapshots of this host, or of its cluster',
    positionals: [],
    options: {
      cluster: {
        summary: 'those that hosts of the cluster have announced (--config names the supernode’s file)',
      },
    },
    run: (context, _, { cluster }) => (cluster ? listOfCluster(context) : list(context)),
  }),
  defineCommand({
    name: 'snapshot inspect',
    summary: 'what a snapshot is made of',
    ...ONE,
    async run(context, [name]) {
      const detail = await (await context.client()).snapshot(name, context.signal);
      context.answer(detail, describe(detail));
    },
  }),
  defineCommand({
    name: 'snapshot verify',
    summary: 'read every byte of a snapshot and check it against its signed digests',
    ...ONE,
    run: (context, [name]) => verify(context, name),
  }),
  defineCommand({
    name: 'snapshot trace',
    summary: 'what starts of an image read, and how well the last ones were foreseen',
    ...ONE,
    async run(context, [name]) {
      const trace = await (await context.client()).snapshotTrace(name, context.signal);
      const { describeTrace } = await import('../output/trace.ts');
      context.answer(trace, describeTrace(trace));
    },
  }),
  defineCommand({
    name: 'snapshot mount',
    summary: 'mount a snapshot read-only and print where',
    ...ONE,
    async run(context, [name]) {
      const result = await (await context.client()).mountSnapshot(name, context.signal);
      context.answer(result, result.path);
    },
  }),
  defineCommand({
    name: 'snapshot umount',
    summary: 'unmount a snapshot that nothing uses',
    ...ONE,
    async run(context, [name]) {
      await (await context.client()).umountSnapshot(name, context.signal);
      context.answer({ unmounted: name }, '');
    },
  }),
  defineCommand({
    name: 'snapshot export',
    summary: 'write a snapshot as a file',
    notes: NAMES,
    positionals: ['<snapshot>'],
    options: {
      flat: { summary: 'one ordinary block image, which any kernel since 5.16 mounts' },
      output: {
        short: 'o',
        value: 'file',
        required: true,
        summary: 'where to write it; it must not exist',
      },
    },
    run: (context, [name], flags) => exportFlat(context, name, flags),
  }),
  defineCommand({
    name: 'snapshot rm',
    summary: 'forget a snapshot and remove its files',
    ...ONE,
    async run(context, [name]) {
      await (await context.client()).removeSnapshot(name, context.signal);
      context.answer({ removed: name }, '');
    },
  }),
];

async function build(context: Context, request: BuildSnapshotRequest): Promise<void> {
  const client = await context.client();
  const startedMs = performance.now();
  const result = await showing<BuildResult>(context, (call) => client.buildSnapshot(request, call));
  const found = {
    here: 'was here',
    cluster: 'found in the cluster',
    registry: 'found in the registry',
    built: 'built',
  }[result.found];
  context.answer(
    result,
    `${result.manifestDigest}  ${found} in ${formatDuration(performance.now() - startedMs)}\n` +
      `${formatCount(result.files, 'file')}; as it travels ${formatBytes(result.blobSizeBytes)}, ` +
      `the image’s own layers ${formatBytes(result.imageSizeBytes)}` +
      (result.pushed ? `\npushed as ${result.artifactDigest}` : ''),
  );
}

async function list(context: Context): Promise<void> {
  const snapshots = await (await context.client()).snapshots(context.signal);
  if (context.json) {
    for (const snapshot of snapshots) context.answer(snapshot, '');
    return;
  }
  const rows = snapshots.map((snapshot) => [
    shortDigest(snapshot.manifestDigest),
    snapshot.image,
    snapshot.platform,
    `${snapshot.files}`,
    formatBytes(snapshot.rawSizeBytes),
    formatBytes(snapshot.blobSizeBytes),
    formatAge(Date.now() - snapshot.createdAtMs),
    stateOf(snapshot),
  ]);
  const headings = ['MANIFEST', 'IMAGE', 'PLATFORM', 'FILES', 'RAW', 'COMPRESSED', 'AGE', 'STATE'];
  context.answer(snapshots, formatTable(headings, rows));
}

async function listOfCluster(context: Context): Promise<void> {
  const { supernodeClient } = await import('../supernode-place.ts');
  const snapshots = await (await supernodeClient(context)).snapshots({ signal: context.signal });
  if (context.json) {
    for (const snapshot of snapshots) context.answer(snapshot, '');
    return;
  }
  const rows = snapshots.map((snapshot) => [
    shortDigest(snapshot.manifest as Digest),
    `${snapshot.registry}/${snapshot.repository}`,
    snapshot.platform,
    String(snapshot.devices),
    formatBytes(snapshot.sizeBytes),
    `${formatAge(Date.now() - snapshot.usedAtMs)} ago`,
    snapshot.pushed ? 'pushed' : '',
  ]);
  const headings = ['MANIFEST', 'REPOSITORY', 'PLATFORM', 'DEVICES', 'COMPRESSED', 'USED', 'STATE'];
  context.answer(snapshots, formatTable(headings, rows));
}

function stateOf(snapshot: SnapshotSummary): string {
  const here = snapshot.offlineReady ? 'offline-ready' : `${Math.floor(snapshot.residency * 100)} % here`;
  return snapshot.path === null ? here : `mounted, ${here}`;
}

function describe(detail: SnapshotDetail): string {
  const { config } = detail;
  const lines = [
    `image        ${detail.image} (${detail.platform})`,
    `manifest     ${detail.manifestDigest}`,
    `artifact     ${detail.artifactDigest}`,
    `builder      ${config.builder}, signed by ${detail.signer}`,
    `origin       ${detail.origin}`,
    `state        ${stateOf(detail)}${detail.path === null ? '' : ` at ${detail.path}`}`,
    `files        ${detail.files}`,
    `image        ${formatBytes(detail.imageSizeBytes)} in its own layers`,
    `block        ${formatBytes(config.blockBytes)}`,
    '',
  ];
  const rows = [config.meta, ...config.devices].map((file, index) => [
    index === 0 ? 'meta' : `device ${index}`,
    formatBytes(file.rawSizeBytes),
    formatBytes(file.blobSizeBytes),
    file.rawDigest,
  ]);
  return lines.join('\n') + formatTable(['PART', 'RAW', 'COMPRESSED', 'RAW DIGEST'], rows);
}

async function verify(context: Context, name: string): Promise<void> {
  const client = await context.client();
  const result = await showing<VerifyResult>(context, (call) => client.verifySnapshot(name, call));
  context.answer(
    result,
    `${result.manifestDigest}  ${formatBytes(result.verifiedBytes)} are as they were signed`,
  );
}

async function exportFlat(
  context: Context,
  name: string,
  options: { readonly flat: boolean; readonly output: string },
): Promise<void> {
  if (!options.flat) {
    throw new DrakkarError('invalid_argument', 'say in which form to export it', { hint: 'add --flat' });
  }
  const image = await (await context.client()).flatImage(name, context.signal);
  await using file = await open(options.output, 'wx').catch((cause: unknown) => {
    const exists = errnoOf(cause) === 'EEXIST';
    throw new DrakkarError(
      exists ? 'already_exists' : 'invalid_argument',
      exists ? `${options.output} is already there` : `${options.output} can't be written: ${String(cause)}`,
      { hint: 'name a file that does not exist, in a directory that does', cause },
    );
  });
  try {
    for await (const part of image) await file.writeFile(part);
    await file.sync();
  } catch (cause) {
    await rm(options.output, { force: true });
    const { code, message, hint } = toDrakkarError(cause);
    throw new DrakkarError(code, `the export of ${name} ended early and was removed: ${message}`, {
      hint,
      cause,
    });
  }
  const { size } = await file.stat();
  context.answer(
    { path: options.output, sizeBytes: size },
    `${options.output}  ${formatBytes(size)}; mount it with: mount -t erofs -o loop,ro ${options.output} DIR`,
  );
}
