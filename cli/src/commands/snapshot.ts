import { open, rm } from 'node:fs/promises';
import type { BuildResult, SnapshotDetail, SnapshotSummary, VerifyResult } from '@drakkar/client';
import { DrakkarError, errnoOf, shortDigest } from '@drakkar/protocol';
import type { Command } from 'commander';
import { type Context, showing } from '../context.ts';
import { formatAge, formatBytes, formatDuration, formatTable } from '../output/format.ts';
import type { Run } from './command.ts';

const NAME = 'image reference, manifest digest, or its first hex digits';

/** `drakkar snapshot …` */
export function snapshotCommand(program: Command, run: Run): void {
  const snapshot = program.command('snapshot').description('block snapshots of images');
  snapshot
    .command('build')
    .argument('<image>', 'image reference')
    .option('--platform <os/arch>', 'platform to choose from an index')
    .option('--push', 'push the snapshot to the image’s registry, where other hosts find it')
    .option('--rebuild', 'build even where a snapshot is known')
    .description('make sure that a snapshot is here: known, found in the registry, or built')
    .action(run(build));
  snapshot.command('ls').description('list the snapshots of this host').action(run(list));
  snapshot
    .command('inspect')
    .argument('<snapshot>', NAME)
    .description('what a snapshot is made of')
    .action(
      run(async (context, name: string) => {
        const detail = await (await context.client()).snapshot(name, context.signal);
        context.answer(detail, describe(detail));
      }),
    );
  snapshot
    .command('verify')
    .argument('<snapshot>', NAME)
    .description('read every byte of a snapshot and check it against its signed digests')
    .action(run(verify));
  snapshot
    .command('mount')
    .argument('<snapshot>', NAME)
    .description('mount a snapshot read-only and print where')
    .action(
      run(async (context, name: string) => {
        const result = await (await context.client()).mountSnapshot(name, context.signal);
        context.answer(result, result.path);
      }),
    );
  snapshot
    .command('umount')
    .argument('<snapshot>', NAME)
    .description('unmount a snapshot that nothing uses')
    .action(
      run(async (context, name: string) => {
        await (await context.client()).umountSnapshot(name, context.signal);
        context.answer({ unmounted: name }, '');
      }),
    );
  snapshot
    .command('export')
    .argument('<snapshot>', NAME)
    .option('--flat', 'one ordinary block image, which any kernel since 5.16 mounts')
    .requiredOption('-o, --output <file>', 'where to write it; it must not exist')
    .description('write a snapshot as a file')
    .action(run(exportFlat));
  snapshot
    .command('rm')
    .argument('<snapshot>', NAME)
    .description('forget a snapshot and remove its files')
    .action(
      run(async (context, name: string) => {
        await (await context.client()).removeSnapshot(name, context.signal);
        context.answer({ removed: name }, '');
      }),
    );
}

async function build(
  context: Context,
  image: string,
  options: { platform?: string; push?: boolean; rebuild?: boolean },
): Promise<void> {
  const client = await context.client();
  const startedMs = performance.now();
  const request = {
    image,
    platform: options.platform,
    push: options.push ?? false,
    rebuild: options.rebuild ?? false,
  };
  const result = await showing<BuildResult>(context, (call) => client.buildSnapshot(request, call));
  const found = { here: 'was here', registry: 'found in the registry', built: 'built' }[result.found];
  context.answer(
    result,
    `${result.manifestDigest}  ${found} in ${formatDuration(performance.now() - startedMs)}\n` +
      `${result.files} files; as it travels ${formatBytes(result.blobSizeBytes)}, ` +
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

function stateOf(snapshot: SnapshotSummary): string {
  if (snapshot.path !== null) return 'mounted';
  return snapshot.local ? 'local' : 'evicted';
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
  options: { flat?: boolean; output: string },
): Promise<void> {
  if (options.flat !== true) {
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
    throw new DrakkarError('unavailable', `the export of ${name} ended early; nothing was left behind`, {
      cause,
    });
  }
  const { size } = await file.stat();
  context.answer(
    { path: options.output, sizeBytes: size },
    `${options.output}  ${formatBytes(size)}; mount it with: mount -t erofs -o loop,ro ${options.output} DIR`,
  );
}
