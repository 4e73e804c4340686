import { DrakkarError } from '@drakkar/errors';
import { type Digest, digestFromRaw, rawOf } from './digest.ts';

/**
 * Content under a digest, as one registry gave it, cut in one way. The swarm keeps the same digest from two registries apart: only the
 * one that has given the content can say who may have it, and anybody may run a registry that says yes to everything. It keeps two
 * cuts of it apart, too, since a piece of the one is no piece of the other.
 */
export interface BlobName {
  readonly digest: Digest;
  /** The registry, as image references name it. */
  readonly origin: string;
  /** The piece table by which it is cut; absent where all pieces but the last are equally long. */
  readonly table?: Digest | undefined;
}

declare const blobKeyBrand: unique symbol;

/** A {@link BlobName} as the key of a map. */
export type BlobKey = string & { readonly [blobKeyBrand]: true };

export const blobKeyOf = ({ digest, origin, table }: BlobName): BlobKey =>
  `${digest}${table === undefined ? '' : `/${table}`}@${origin}` as BlobKey;

const ORIGIN_PATTERN = /^[\x21-\x7e]{1,255}$/;

export const isOrigin = (text: string): boolean => ORIGIN_PATTERN.test(text);

/** As it stands in messages: no table is no bytes. */
export interface EncodedBlobName {
  readonly digest: Uint8Array;
  readonly origin: string;
  readonly table: Uint8Array;
}

export function encodeBlobName({ digest, origin, table }: BlobName): EncodedBlobName {
  return { digest: rawOf(digest), origin, table: table === undefined ? new Uint8Array() : rawOf(table) };
}

/** @throws `invalid_content` */
export function decodeBlobName(blob: EncodedBlobName | undefined): BlobName {
  const isTable = blob?.table.length === 0 || blob?.table.length === 32;
  if (blob?.digest.length !== 32 || !isTable || !isOrigin(blob.origin)) {
    throw new DrakkarError('invalid_content', 'a message names no blob');
  }
  const name = { digest: digestFromRaw(blob.digest), origin: blob.origin };
  return blob.table.length === 0 ? name : { ...name, table: digestFromRaw(blob.table) };
}
