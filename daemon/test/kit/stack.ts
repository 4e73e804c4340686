import { randomBytes } from 'node:crypto';
import { temporaryDirectory } from '@drakkar/lab';
import { type Digest, digestOf, MEDIA_TYPES } from '@drakkar/protocol';
import { Tracing } from '@drakkar/service';
import { type Content, type ContentOptions, createContent } from '../../src/content/index.ts';
import { type Mirror, type MirrorOptions, serveMirror } from '../../src/mirror/index.ts';
import { openStore, type Store, type StoreOptions } from '../../src/store/index.ts';
import { createRegistryClient, type RegistryClient, type UpstreamOptions } from '../../src/upstream/index.ts';

/** Patience of a test: the same rules as in production, a hundred times sooner. */
export const HASTY: Partial<UpstreamOptions> = {
  answerTimeoutMs: 2_000,
  idleTimeoutMs: 400,
  rateWindowMs: 400,
  minimumBytesPerSecond: 64 * 1024,
  backoffMs: 5,
  backoffCapMs: 20,
  retryAfterCapMs: 50,
};

export interface StackOptions {
  readonly upstream?: Partial<UpstreamOptions>;
  readonly store?: Partial<StoreOptions>;
  readonly content?: Partial<ContentOptions>;
  readonly mirror?: Partial<MirrorOptions>;
  readonly now?: () => number;
}

/** The parts between containerd and a registry, wired as the daemon wires them. */
export interface Stack extends AsyncDisposable {
  readonly client: RegistryClient;
  readonly store: Store;
  readonly content: Content;
  readonly mirror: Mirror;
}

export async function startStack(options: StackOptions = {}): Promise<Stack> {
  await using stack = new AsyncDisposableStack();
  const directory = stack.use(await temporaryDirectory('stack'));
  const client = stack.use(createRegistryClient({ ...HASTY, ...options.upstream }));
  const store = stack.use(await openStore({ directory: directory.path, ...options.store }));
  const content = stack.use(createContent({ graceMs: 50, ...options.content }, { client, store }));
  const log = { debug: () => {}, warn: () => {} };
  const now = options.now === undefined ? {} : { now: options.now };
  const mirror = stack.use(
    await serveMirror(
      { port: 0, ...options.mirror },
      { client, store, content, log, tracing: new Tracing(), ...now },
    ),
  );
  const running = stack.move();
  return { client, store, content, mirror, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

export interface TestBlob {
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly sizeBytes: number;
}

export function randomBlob(sizeBytes: number): TestBlob {
  const bytes = randomBytes(sizeBytes);
  return { bytes, digest: digestOf(bytes), sizeBytes };
}

export interface TestImage {
  readonly manifest: Buffer;
  readonly manifestDigest: Digest;
  readonly layers: readonly TestBlob[];
}

/** Pushes an image of random layers with our own client. */
export async function pushRandomImage(
  client: RegistryClient,
  image: { readonly registry: string; readonly repository: string },
  tag: string,
  layers: readonly TestBlob[],
): Promise<TestImage> {
  const configBytes = Buffer.from(
    JSON.stringify({
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
    }),
  );
  const config = { bytes: configBytes, digest: digestOf(configBytes), sizeBytes: configBytes.length };
  for (const { digest, sizeBytes, bytes } of [...layers, config]) {
    await client.pushBlob(image, digest, sizeBytes, { bytes });
  }
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: { mediaType: MEDIA_TYPES.ociConfig, digest: config.digest, size: config.sizeBytes },
      layers: layers.map(({ digest, sizeBytes }) => ({
        mediaType: MEDIA_TYPES.ociLayer,
        digest,
        size: sizeBytes,
      })),
    }),
  );
  await client.pushManifest(image, tag, manifest, MEDIA_TYPES.ociManifest);
  return { manifest, manifestDigest: digestOf(manifest), layers };
}
