import { type Digest, digestOf } from '@drakkar/protocol';
import { type FileVersion, validatorOf } from '../upstream/index.ts';

/**
 * One version of a file, as all hosts call it that see the same; `undefined` where the server does not tell versions apart. Pure.
 */
export function versionName(url: URL, version: FileVersion): Digest | undefined {
  const validator = validatorOf(version);
  if (validator === undefined || version.sizeBytes === undefined) return undefined;
  return nameOf('version', url.href, validator, String(version.sizeBytes));
}

/** A file of which only this host knows that it reads it. Pure. */
export function ownName(url: URL): Digest {
  return nameOf('own', url.href);
}

/** Content of which a digest is known, and not how large it is. Pure. */
export function contentName(origin: string, digest: Digest): Digest {
  return nameOf('content', origin, digest);
}

function nameOf(...parts: readonly string[]): Digest {
  return digestOf(['drakkar file v1', ...parts].join('\0'));
}
