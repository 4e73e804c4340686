import type { ErrorDocument } from '@drakkar/protocol';
import type { FlatSource } from './flat.ts';

/** From the parent to the process that makes a flat image. */
export interface ToExporter {
  readonly source: FlatSource;
}

/** The image's bytes themselves come on its standard output, after `planned`; what fails later ends the process. */
export type FromExporter =
  | { readonly kind: 'planned'; readonly sizeBytes: number }
  | { readonly kind: 'failed'; readonly error: ErrorDocument };
