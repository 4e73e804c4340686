import { type Digest, digestOf } from '@drakkar/protocol';

/** What a build is called by all hosts that would make the same. Pure. */
export function buildName(registry: string, manifestDigest: Digest, platform: string): Digest {
  return digestOf(['drakkar build v1', registry, manifestDigest, platform].join('\0'));
}

/** What it is called once more, where what was built is gone. Pure. */
export function buildNameAfter(name: Digest, lost: Digest): Digest {
  return digestOf(['drakkar build after v1', name, lost].join('\0'));
}
