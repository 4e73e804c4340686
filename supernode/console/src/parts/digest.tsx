import { shortDigest } from '../format.ts';

/** A digest, short enough to read; its whole stands in the title. */
export function ShortDigest({ digest }: { readonly digest: string }) {
  return (
    <span class="mono" title={digest}>
      {shortDigest(digest)}
    </span>
  );
}
