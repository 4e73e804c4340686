import { type Digest, DrakkarError } from '@drakkar/protocol';
import type { BlobSource } from '../content/index.ts';
import type { SwarmPeer } from '../swarm/index.ts';
import { type FileClient, type FileVersion, isAway, withoutQuery } from '../upstream/index.ts';
import { contentName } from './names.ts';

export interface FileSourceOptions {
  readonly url: URL;
  /**
   * The only one that is taken. Where absent, any that has the digest, of which mirrors may each have their own; without a digest, the
   * first that comes.
   */
  readonly version?: FileVersion | undefined;
  /** What the bytes will be compared with, where that does not come from them. */
  readonly digest?: Digest | undefined;
  /** Of what only other hosts say the size of: the claim alone may drive out what others use. */
  readonly maxHearsayBytes: number;
  readonly swarm: SwarmPeer | undefined;
}

export interface FileSource extends BlobSource {
  /** Which version it is, as far as all answers agree; `undefined` before the server has been asked. */
  readonly version: FileVersion | undefined;
}

/** A file as what a download reads: always the same version of it. */
export function fileSource(options: FileSourceOptions, client: FileClient): FileSource {
  const { url, digest, maxHearsayBytes, swarm } = options;
  const isAny = digest !== undefined && options.version === undefined;
  let { version } = options;
  return {
    origin: url.origin,
    kind: 'server',
    what: withoutQuery(url),
    key: url.href,
    get version() {
      return version;
    },
    async size(signal) {
      try {
        version ??= await client.head(url, { signal });
        return version.sizeBytes;
      } catch (error) {
        if (!isAway(error) || digest === undefined) throw error;
        // Other hosts may have it, and have told how large it is.
        using name = swarm?.names.ask(contentName(url.origin, digest), 0);
        const known = await name?.meaning(signal);
        if (known?.digest !== digest) throw error;
        if (known.sizeBytes > maxHearsayBytes) throw immodest(withoutQuery(url), known.sizeBytes);
        return known.sizeBytes;
      }
    },
    async open(range, signal) {
      return await client.open(url, range, {
        version: isAny ? sizeAlone(version) : version,
        isProven: digest !== undefined,
        onVersion: (found) => {
          version = isAny && version !== undefined ? agreed(version, found) : (version ?? found);
        },
        signal,
      });
    },
  };
}

/** A version that every one of its size is. */
function sizeAlone(version: FileVersion | undefined): FileVersion {
  return { etag: null, lastModified: null, sizeBytes: version?.sizeBytes };
}

function agreed(one: FileVersion, other: FileVersion): FileVersion {
  return {
    etag: one.etag === other.etag ? one.etag : null,
    lastModified: one.lastModified === other.lastModified ? one.lastModified : null,
    sizeBytes: one.sizeBytes ?? other.sizeBytes,
  };
}

function immodest(what: string, sizeBytes: number): DrakkarError {
  return new DrakkarError(
    'limit_exceeded',
    `${what} is said by other hosts to have ${sizeBytes} bytes, which is more than a quarter of the store may hold`,
    { hint: 'raise store.quotaBytes, or try again when its server is back' },
  );
}
