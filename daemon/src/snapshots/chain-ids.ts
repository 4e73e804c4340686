import { type Digest, digestOf } from '@drakkar/protocol';

/** What containerd calls an image's layers, each with all below it. Source: ChainID in the OCI image specification, config.md. */
export function chainIdsOf(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : digestOf(Buffer.from(`${below} ${diffId}`)));
  }
  return chain;
}
