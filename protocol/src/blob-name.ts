import { DrakkarError } from '@drakkar/errors';
import { type Digest, digestFromRaw, rawOf } from './digest.ts';

/**
 * Content under a digest, as one registry gave it. The swarm keeps the same digest from two registries apart: only the one that has
 * given the content can say who may have it, and anybody may run a registry that says yes to everything.
 */
export interface BlobName {
  readonly digest: Digest;
  /** The registry, as image references name it. */
  readonly origin: string;
}

declare const blobKeyBrand: unique symbol;

/** A {@link BlobName} as the key of a map. */
export type BlobKey = string & { readonly [blobKeyBrand]: true };

export const blobKeyOf = ({ digest, origin }: BlobName): BlobKey => `${digest}@${origin}` as BlobKey;

const ORIGIN_PATTERN = /^[\x21-\x7e]{1,255}$/;

export const isOrigin = (text: string): boolean => ORIGIN_PATTERN.test(text);

/** As it stands in messages. */
export function encodeBlobName({ digest, origin }: BlobName): { digest: Uint8Array; origin: string } {
  return { digest: rawOf(digest), origin };
}

/** @throws `invalid_content` */
export function decodeBlobName(
  blob: { readonly digest: Uint8Array; readonly origin: string } | undefined,
): BlobName {
  if (blob?.digest.length !== 32 || !isOrigin(blob.origin)) {
    throw new DrakkarError('invalid_content', 'a message names no blob');
  }
  return { digest: digestFromRaw(blob.digest), origin: blob.origin };
}
