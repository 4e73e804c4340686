import type { AdminClient, ImagePart, PullResult } from '@drakkar/client';
import type { ContainerdClient, Labels } from '@drakkar/containerd';
import {
  chainIdsOf,
  type Digest,
  DrakkarError,
  formatPlatform,
  containerd as known,
  type Platform,
  parseImageConfig,
  parseManifestDocument,
  parseReference,
} from '@drakkar/protocol';
import { SNAPSHOTTER } from '../configure/plan.ts';

/** What containerd's garbage collector follows. Source: docs/garbage-collection.md of containerd. */
const CONTENT_REFERENCE = 'containerd.io/gc.ref.content';
const SNAPSHOT_REFERENCE = `containerd.io/gc.ref.snapshot.${SNAPSHOTTER}`;
/** Where content came from, so that a push to the same registry need not send it. */
const SOURCE = 'containerd.io/distribution.source';

export interface GiveOptions {
  readonly withLayers: boolean;
  readonly platform: Platform;
  readonly signal: AbortSignal;
}

type Daemon = Pick<AdminClient, 'content'>;

/**
 * Gives containerd an image without unpacking it: its manifests and its config, and the snapshots of its layers, which this host's snapshotter has.
 *
 * @param pulled what the daemon has in its store: with the layers, those are given as well
 * @returns false where the image has no snapshot, and would have to be unpacked; then containerd has nothing of it
 */
export async function giveImage(
  containerd: ContainerdClient,
  daemon: Daemon,
  { image, manifestDigest, parts }: Pick<PullResult, 'image' | 'manifestDigest' | 'parts'>,
  { withLayers, platform, signal }: GiveOptions,
): Promise<boolean> {
  const { documents, config, layers } = parts;
  const source = sourceOf(image);
  const open = (part: ImagePart) => contentOf(daemon, part, signal);
  /** By which place in an index containerd refers to a manifest: those of other platforms have theirs. */
  const positionIn = async (index: ImagePart, manifest: Digest) => {
    const document = parseManifestDocument(await bytesOf(await open(index)));
    const entries = document.kind === 'index' ? document.index.manifests : [];
    return Math.max(
      0,
      entries.findIndex(({ digest }) => digest === manifest),
    );
  };
  const give = (part: ImagePart, labels: Labels = {}) =>
    containerd.write(part, { ...source, ...labels }, () => open(part));
  const { os, architecture, rootfs } = parseImageConfig(await bytesOf(await open(config)));
  // An image alone is what it is, whatever was asked for.
  if (os !== platform.os || architecture !== platform.architecture) {
    throw new DrakkarError(
      'not_found',
      `${image} is for ${os}/${architecture}, not for ${formatPlatform(platform)}`,
      {
        hint: 'name the platform that it is for with --platform, or another image',
      },
    );
  }
  const chain = chainIdsOf(rootfs.diff_ids ?? []);
  let parent = '';
  for (const [index, chainId] of chain.entries()) {
    const about = layerLabels(image, manifestDigest, chainId, layers[index]);
    if (!(await containerd.hasLayer(SNAPSHOTTER, chainId, parent, about))) return false;
    parent = chainId;
  }
  if (withLayers) await giveLayers(containerd, daemon, { image, parts }, signal);
  await give(config, parent === '' ? {} : { [SNAPSHOT_REFERENCE]: parent });
  for (const [index, document] of [...documents.entries()].reverse()) {
    const below = documents[index + 1];
    const references =
      below === undefined
        ? [
            ['.config', config.digest] as const,
            ...layers.map(({ digest }, at) => [`.l.${at}`, digest] as const),
          ]
        : [[`.m.${await positionIn(document, below.digest)}`, below.digest] as const];
    await give(
      document,
      Object.fromEntries(references.map(([name, digest]) => [CONTENT_REFERENCE + name, digest])),
    );
  }
  const [root] = documents;
  if (root !== undefined) await containerd.name(image, root);
  return true;
}

/** Gives the layers of an image alone, which containerd knows, and then can unpack by itself. */
export async function giveLayers(
  containerd: ContainerdClient,
  daemon: Daemon,
  { image, parts }: Pick<PullResult, 'image' | 'parts'>,
  signal: AbortSignal,
): Promise<void> {
  for (const layer of parts.layers)
    await containerd.write(layer, sourceOf(image), () => contentOf(daemon, layer, signal));
}

const contentOf = (daemon: Daemon, { digest, size }: ImagePart, signal: AbortSignal) =>
  daemon.content(digest, { startBytes: 0, endBytes: size }, signal);

function sourceOf(image: string): Labels {
  const { registry, repository } = parseReference(image);
  return { [`${SOURCE}.${registry}`]: repository };
}

/** What tells the snapshotter what a layer is of. */
const layerLabels = (
  image: string,
  manifest: Digest,
  chainId: Digest,
  layer: ImagePart | undefined,
): Labels => ({
  [known.REF_LABEL]: chainId,
  [known.IMAGE_LABEL]: image,
  [known.MANIFEST_LABEL]: manifest,
  ...(layer === undefined ? {} : { [known.LAYER_LABEL]: layer.digest }),
});

async function bytesOf(parts: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const gathered: Uint8Array[] = [];
  for await (const part of parts) gathered.push(part);
  return Buffer.concat(gathered);
}
