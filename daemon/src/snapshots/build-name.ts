import { type Digest, digestOf } from '@drakkar/protocol';

/** What a build is called by all hosts that would make the same. Pure. */
export function buildName(registry: string, manifestDigest: Digest, platform: string): Digest {
  return digestOf(['drakkar build v1', registry, manifestDigest, platform].join('\0'));
}
