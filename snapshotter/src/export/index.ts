/** A snapshot as one block image that any kernel with EROFS mounts without us. */
export type { FlatSource } from './flat.ts';
export { type FlatStream, streamFlat } from './stream.ts';
