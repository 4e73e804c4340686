/**
 * What starts read, as files: which of an image lie in the parts of its devices that were read.
 *
 * - `files-in`      pure: from the tree of a meta to the files in ranges
 * - `trace-files`   the same of a meta on disk, in a thread of its own
 */
export { filesOfTrace, type TraceFilesRequest } from './trace-files.ts';
