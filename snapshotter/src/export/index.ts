/** A snapshot as one block image that any kernel with EROFS mounts without us. */
export { exportFlat, type FlatImage, type FlatSource, flatImage } from './flat.ts';
