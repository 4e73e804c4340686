/**
 * Files of web servers: the same blobs as those of registries, but for where they come from and who says what their digest is.
 *
 * Whoever knows the sha256 of a file says it, and has what layers have. Else the server says it, or this host remembers it of the
 * version that the server still has, or another host has found it out, or this one does: it reads the file under a name made of
 * URL and version, until it knows.
 *
 * @example
 * ```ts
 * const files = new Files({ client, content, store, memory, swarm, log });
 * const { digest, receipt } = await files.get({ url: 'https://example.com/model.bin' }, work);
 * await using blob = await files.open(digest);
 * ```
 */
export { Files } from './files.ts';
export { FileMemory } from './memory.ts';
