import type { GetRequest, GetResult } from '@drakkar/client';
import { type Digest, DrakkarError, digestFromHex, isDrakkarError } from '@drakkar/protocol';
import {
  type Content,
  LARGEST_UNCONFIRMED_SHARE,
  type OpenedBlob,
  type ReceiptCounter,
  SMALLEST_SHARED_BYTES,
  type SourceBlobRequest,
} from '../content/index.ts';
import type { Log, Work } from '../snapshots/index.ts';
import type { Store } from '../store/index.ts';
import type { SwarmPeer } from '../swarm/index.ts';
import { type FileClient, type FileVersion, isAway, validatorOf, withoutQuery } from '../upstream/index.ts';
import type { FileMemory, KnownFile } from './memory.ts';
import { contentName, ownName, versionName } from './names.ts';
import { fileSource } from './source.ts';

export interface FilesModules {
  readonly client: FileClient;
  readonly content: Content;
  readonly store: Store;
  readonly memory: FileMemory;
  readonly swarm: SwarmPeer | undefined;
  readonly log: Log;
}

/** Files that a supernode is told of which has come back, by two names each. */
const MAX_RETOLD = 32;
/** Of a file that becomes another while it is read. */
const TRIES = 3;

/** What is to be downloaded, and what must be done about it when it is here. */
interface Wanted extends AsyncDisposable {
  readonly blob: SourceBlobRequest;
  arrived(bytes: number): void;
  complete(digest: Digest, receipt: ReceiptCounter): void;
}

/** Gets files into the store, and hands them out. */
export class Files {
  readonly #modules: FilesModules;

  constructor(modules: FilesModules) {
    this.#modules = modules;
    const { swarm, memory, store } = modules;
    swarm?.names.remember(function* () {
      const isHere = ({ digest }: { digest: Digest }) => store.has(digest, 'blob');
      for (const { origin, name, digest, sizeBytes } of memory.recent(MAX_RETOLD).filter(isHere)) {
        const meaning = { digest, sizeBytes };
        if (name !== undefined) yield [name, meaning];
        yield [contentName(origin, digest), meaning];
      }
    });
  }

  /**
   * A file into the store: all of it or, where a range is asked for, from its start to the range's end at least.
   *
   * @throws `invalid_content` where the bytes are not what the caller said; `limit_exceeded` for more than the store may hold;
   *   `forbidden` for what the configuration does not allow; `unavailable` where the server is away
   */
  async get(request: GetRequest, work: Work): Promise<GetResult> {
    const startedMs = performance.now();
    const url = this.#modules.client.parse(request.url);
    let isAlone = false;
    for (let attempt = 1; ; attempt += 1) {
      await using wanted = await this.#want(url, request, isAlone, work);
      try {
        const found = await (request.startBytes === undefined
          ? this.#fetch(wanted, work)
          : this.#fetchRange(wanted, request.startBytes, request.endBytes, work));
        return {
          url: request.url,
          ...found,
          receipt: work.receipt.summary(),
          elapsedMs: performance.now() - startedMs,
        };
      } catch (error) {
        const mayDiffer = isDrakkarError(error, 'invalid_content') && request.sha256 === undefined;
        if (!mayDiffer || attempt === TRIES) throw error;
        this.#modules.log.warn({ url: withoutQuery(url), error }, 'a file is fetched once more');
        // Whoever has said what it is, here or elsewhere, may have been wrong: the server alone is asked now.
        this.#modules.memory.forget(url);
        isAlone = true;
      }
    }
  }

  /** Content that is here or on its way, under its digest or the name that stands for it. @throws `not_found` */
  async open(digest: Digest, signal?: AbortSignal): Promise<OpenedBlob> {
    const { content, memory } = this.#modules;
    try {
      return await content.openHere(digest, { signal });
    } catch (error) {
      const named = memory.named(digest);
      if (named === undefined || !isDrakkarError(error, 'not_found')) throw error;
      return await content.openHere(named, { signal });
    }
  }

  async #fetch({ blob, arrived, complete }: Wanted, work: Work) {
    let [doneBytes, sizeBytes] = [0, 0];
    const digest = await this.#modules.content.fetch(blob, work.receipt, {
      signal: work.signal,
      onSize: (bytes) => {
        sizeBytes = bytes;
        work.opened({ content: blob.digest, sizeBytes });
      },
      onBytes: (bytes) => {
        doneBytes += bytes;
        arrived(doneBytes);
        work.progress('download', doneBytes, sizeBytes);
      },
    });
    complete(digest, work.receipt);
    return { digest, content: digest, sizeBytes };
  }

  /** Returns when the range is here: what follows is not waited for. */
  async #fetchRange({ blob }: Wanted, startBytes: number, endBytes: number | undefined, work: Work) {
    const { signal, receipt } = work;
    await using opened = await this.#modules.content.open(blob, { signal, receipt });
    const { sizeBytes } = opened;
    if (startBytes >= sizeBytes) {
      throw new DrakkarError('invalid_argument', `the file has ${sizeBytes} bytes; none is at ${startBytes}`);
    }
    const end = Math.min(endBytes ?? sizeBytes, sizeBytes);
    await opened.read(Buffer.alloc(1), end - 1);
    if (opened.source === 'store') receipt.fromStore(end - startBytes);
    else receipt.arrived();
    const digest = blob.whenNamed === undefined ? blob.digest : null;
    return { digest, content: blob.digest, sizeBytes };
  }

  async #want(url: URL, { sha256 }: GetRequest, isAlone: boolean, work: Work): Promise<Wanted> {
    if (sha256 !== undefined) return this.#known(url, digestFromHex(sha256), undefined);
    const { client, store, memory } = this.#modules;
    const seen = memory.find(url);
    await store.verify(seen === undefined ? [] : [seen.digest]);
    const isHere = seen !== undefined && store.has(seen.digest, 'blob');
    const head = await client
      .head(url, { seen: isHere ? seen.version : undefined, signal: work.signal })
      .catch((error) => {
        throw seen === undefined || !isHere ? error : offline(error, seen);
      });
    if (head === 'unchanged') {
      if (seen === undefined) throw new DrakkarError('internal', 'nothing was seen that could be unchanged');
      return this.#known(url, seen.digest, seen.version);
    }
    if (head.digest !== undefined) return this.#known(url, head.digest, head);
    if (seen !== undefined && isProvenSame(seen.version, head)) return this.#known(url, seen.digest, head);
    return await this.#unknown(url, head, isAlone, work);
  }

  /** @param isHearsay another host has said the digest */
  #known(url: URL, digest: Digest, version: FileVersion | undefined, isHearsay = false): Wanted {
    const { client, swarm, memory, store } = this.#modules;
    const source = fileSource(
      { url, version, digest, maxHearsayBytes: this.#maxHearsayBytes, swarm },
      client,
    );
    return {
      blob: { source, digest },
      arrived: () => {},
      complete: (_, receipt) => {
        const sizeBytes = store.stat(digest)?.sizeBytes;
        if (sizeBytes === undefined) return;
        // What the caller alone says, and other hosts have given, need not be what the server has today.
        const isServers = receipt.peerBytes === 0 && receipt.upstreamBytes >= Math.max(1, sizeBytes);
        // And what other hosts both say and give would be a lie for ever if this host said it too.
        if (isHearsay && !isServers) return;
        const seen = version ?? (isServers ? source.version : undefined);
        const name = seen === undefined ? undefined : versionName(url, seen);
        if (seen !== undefined) {
          memory.put(url, { version: seen, digest, sizeBytes, seenAtMs: Date.now() }, name);
        }
        this.#tell(url, name, { digest, sizeBytes });
      },
      [Symbol.asyncDispose]: async () => {},
    };
  }

  /** Another host says what it is, or it is read under a name until it says so itself. */
  async #unknown(url: URL, version: FileVersion, isAlone: boolean, work: Work): Promise<Wanted> {
    const { client, content, swarm, memory, store } = this.#modules;
    const shared = versionName(url, version);
    const { sizeBytes = 0 } = version;
    await using stack = new AsyncDisposableStack();
    const isShared = shared !== undefined && sizeBytes >= SMALLEST_SHARED_BYTES && !isAlone;
    const asked = isShared ? swarm?.names.ask(shared, sizeBytes) : undefined;
    if (asked !== undefined) stack.use(asked);
    work.progress('download', 0, sizeBytes);
    const meaning = await asked?.meaning(work.signal);
    if (meaning !== undefined && meaning.sizeBytes === sizeBytes) {
      return this.#known(url, meaning.digest, version, true);
    }
    const name = shared ?? ownName(url);
    // Where nothing tells versions apart, what an earlier daemon has left may be of another.
    if (shared === undefined && !content.isArriving(name)) store.remove(name);
    const source = fileSource({ url, version, maxHearsayBytes: this.#maxHearsayBytes, swarm }, client);
    const whenNamed = (digest: Digest, bytes: number) => {
      memory.put(url, { version, digest, sizeBytes: bytes, seenAtMs: Date.now() }, name);
      this.#tell(url, shared, { digest, sizeBytes: bytes });
    };
    const held = stack.move();
    return {
      blob: { source, digest: name, whenNamed },
      arrived: (bytes) => asked?.reads(bytes),
      complete: () => {},
      [Symbol.asyncDispose]: () => held.disposeAsync(),
    };
  }

  get #maxHearsayBytes(): number {
    return this.#modules.store.usage().quotaBytes * LARGEST_UNCONFIRMED_SHARE;
  }

  /** Other hosts need not find it out. */
  #tell(url: URL, name: Digest | undefined, meaning: { digest: Digest; sizeBytes: number }): void {
    const { swarm } = this.#modules;
    if (name !== undefined) swarm?.names.tell(name, meaning);
    swarm?.names.tell(contentName(url.origin, meaning.digest), meaning);
  }
}

/** The server tells versions apart, and says that this is the one that was seen. */
function isProvenSame(seen: FileVersion, head: FileVersion): boolean {
  const validator = validatorOf(seen);
  return validator !== undefined && validator === validatorOf(head) && seen.sizeBytes === head.sizeBytes;
}

function offline(error: unknown, { digest, seenAtMs }: KnownFile): unknown {
  if (!isDrakkarError(error) || !isAway(error)) return error;
  const seen = new Date(seenAtMs).toISOString();
  return new DrakkarError(error.code, error.message, {
    hint: `the file as it was at ${seen} is here: --sha256 ${digest.slice('sha256:'.length)} takes that one`,
    details: error.details,
    cause: error,
  });
}
