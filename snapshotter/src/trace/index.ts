/**
 * What starts read, as files: which of an image lie in the parts of its devices that were read.
 *
 * - `files-in`      pure: from ranges to the parts of files that lie there, and back
 * - `trace-files`   the same of a meta on disk, in a thread of its own
 */
export { type FileRange, rangesOf } from './files-in.ts';
export { filesOfTrace, type TraceFilesRequest } from './trace-files.ts';
