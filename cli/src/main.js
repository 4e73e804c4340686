/**
 * The `drakkar` command. What is compiled once is kept beside the packages, for this command and the processes it starts: a
 * start takes a third of the time. Plain JavaScript, and alone in that, because types are stripped before there is a cache.
 */
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';

process.env.NODE_COMPILE_CACHE ??= join(import.meta.dirname, '../../node_modules/.cache/drakkar');
enableCompileCache();
await import('./program.ts');
