/** The `drakkar` command. What is compiled once is kept compiled, so that a command starts in a few tens of milliseconds. */
import { enableCompileCache } from 'node:module';

enableCompileCache();
await import('./program.ts');
