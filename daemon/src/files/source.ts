import type { Digest } from '@drakkar/protocol';
import type { BlobSource } from '../content/index.ts';
import type { SwarmPeer } from '../swarm/index.ts';
import { type FileClient, type FileVersion, isAway, withoutQuery } from '../upstream/index.ts';
import { contentName } from './names.ts';

export interface FileSourceOptions {
  readonly url: URL;
  /** The only one that is taken; the first that comes where absent. */
  readonly version?: FileVersion | undefined;
  /** What the bytes will be compared with, where that does not come from them. */
  readonly digest?: Digest | undefined;
  readonly swarm: SwarmPeer | undefined;
}

export interface FileSource extends BlobSource {
  /** Which version it is; `undefined` before the server has been asked. */
  readonly version: FileVersion | undefined;
}

/** A file as what a download reads: always the same version of it. */
export function fileSource(options: FileSourceOptions, client: FileClient): FileSource {
  const { url, digest, swarm } = options;
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
        return known.sizeBytes;
      }
    },
    async open(range, signal) {
      const stream = await client.open(url, range, { version, isProven: digest !== undefined, signal });
      version ??= stream.version;
      return stream;
    },
  };
}
