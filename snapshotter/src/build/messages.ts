import type { ErrorDocument } from '@drakkar/protocol';
import type { BuildProgress, BuildRequest, Built, Rearranged, RearrangeRequest } from './request.ts';

/** From the parent to the builder process. The layers of a build come on its standard input. */
export type ToBuilder =
  | { readonly kind: 'build'; readonly request: BuildRequest }
  | { readonly kind: 'rearrange'; readonly request: RearrangeRequest }
  /** Answers the oldest `reserve` that has no answer yet; a refusal is the end of the process. */
  | { readonly kind: 'reserved' };

export type FromBuilder =
  | { readonly kind: 'progress'; readonly progress: BuildProgress }
  | { readonly kind: 'reserve'; readonly bytes: number }
  | { readonly kind: 'built'; readonly built: Built }
  | { readonly kind: 'rearranged'; readonly rearranged: Rearranged }
  | { readonly kind: 'failed'; readonly error: ErrorDocument };
