import { join } from 'node:path';
import type { GetRequest, GetResult } from '@drakkar/client';
import { temporaryDirectory } from '@drakkar/lab';
import { type Content, createContent, readRange } from '../../src/content/index.ts';
import { FileMemory, Files } from '../../src/files/index.ts';
import { Work } from '../../src/snapshots/index.ts';
import { openStore, type Store, type StoreOptions } from '../../src/store/index.ts';
import { createFileClient, createRegistryClient, type FileRules } from '../../src/upstream/index.ts';
import { HASTY } from './stack.ts';

export interface FilesStackOptions {
  readonly rules?: Partial<FileRules>;
  readonly store?: Partial<StoreOptions>;
  /** Where the state lies; a directory of its own when absent. */
  readonly directory?: string;
}

/** What gets files, wired as the daemon wires it, without other hosts. */
export interface FilesStack extends AsyncDisposable {
  readonly store: Store;
  readonly content: Content;
  readonly files: Files;
  get(request: GetRequest, signal?: AbortSignal): Promise<GetResult>;
  read(result: GetResult, startBytes?: number, endBytes?: number): Promise<Buffer>;
}

export const ANYWHERE: FileRules = { allow: ['http://127.0.0.1:*'], allowPrivate: ['127.0.0.1'] };

export async function startFilesStack(options: FilesStackOptions = {}): Promise<FilesStack> {
  await using stack = new AsyncDisposableStack();
  const directory = options.directory ?? stack.use(await temporaryDirectory('files')).path;
  const store = stack.use(await openStore({ directory, ...options.store }));
  const registry = stack.use(createRegistryClient(HASTY));
  const client = stack.use(createFileClient(HASTY, options.rules ?? ANYWHERE));
  const content = stack.use(createContent({ graceMs: 50, silenceMs: 500 }, { store, client: registry }));
  const memory = stack.use(new FileMemory(join(directory, 'files.sqlite')));
  const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
  const files = new Files({ client, content, store, memory, swarm: undefined, log });
  const running = stack.move();
  return {
    store,
    content,
    files,
    get: (request, signal) => files.get(request, new Work({ signal })),
    async read({ content: digest, sizeBytes }, startBytes = 0, endBytes = sizeBytes) {
      const parts: Buffer[] = [];
      for await (const part of readRange(await files.open(digest), startBytes, endBytes)) parts.push(part);
      return Buffer.concat(parts);
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
