import { randomUUID } from 'node:crypto';
import { DrakkarError, type ErrorCode } from '@drakkar/errors';
import { containerd, type Digest } from '@drakkar/protocol';
import { type ServiceError, status } from '@grpc/grpc-js';
import { GrpcClient, type GrpcHeaders } from './grpc-client.ts';

export type Labels = Readonly<Record<string, string>>;

/** Content as containerd names it. */
export interface ContentName {
  readonly digest: Digest;
  readonly size: number;
}

/** What containerd answers with, where a caller can do something about it. */
const CODES: Readonly<Partial<Record<status, ErrorCode>>> = {
  [status.INVALID_ARGUMENT]: 'invalid_argument',
  [status.NOT_FOUND]: 'not_found',
  [status.ALREADY_EXISTS]: 'already_exists',
  [status.FAILED_PRECONDITION]: 'busy',
  [status.PERMISSION_DENIED]: 'forbidden',
  [status.UNAVAILABLE]: 'unavailable',
  [status.RESOURCE_EXHAUSTED]: 'no_space',
  [status.UNIMPLEMENTED]: 'unsupported',
};

/** Of `WriteAction`. Source: containerd's api/services/content/v1/content.proto. */
const WRITE = 1;
const COMMIT = 2;
const LEASE_MS = 24 * 3_600_000;

/**
 * A containerd in one of its namespaces, while a lease keeps it from collecting what nothing refers to yet. Calls throw {@link DrakkarError}s with
 * containerd's own words; `unavailable` where none answers.
 */
export class ContainerdClient implements AsyncDisposable {
  readonly #client: GrpcClient;
  readonly #headers: GrpcHeaders;
  readonly #lease: string;

  private constructor(client: GrpcClient, namespace: string, lease: string) {
    this.#client = client;
    this.#lease = lease;
    this.#headers = { 'containerd-namespace': namespace, 'containerd-lease': lease };
  }

  /** @param socket of containerd itself, which only root may open */
  static async open(socket: string, namespace: string): Promise<ContainerdClient> {
    const client = new GrpcClient(socket);
    const id = `drakkar-${randomUUID()}`;
    const labels = { 'containerd.io/gc.expire': new Date(Date.now() + LEASE_MS).toISOString() };
    try {
      const { create } = containerd.Leases.method;
      await explained(client.call(create, { id, labels }, { 'containerd-namespace': namespace }));
      return new ContainerdClient(client, namespace, id);
    } catch (error) {
      client[Symbol.dispose]();
      throw error;
    }
  }

  /** Gives it content, with labels, which it gets as well where it is there already. */
  async write(
    { digest, size }: ContentName,
    labels: Labels,
    open: () => Promise<AsyncIterable<Uint8Array>>,
  ): Promise<void> {
    const { write, update } = containerd.Content.method;
    async function* parts() {
      const about = { ref: `drakkar-${digest}`, total: BigInt(size), expected: digest };
      // What another has begun to write goes on where that ended; from its begin it is safe.
      let offset = 0;
      for await (const data of await open()) {
        yield { ...about, action: WRITE, offset: BigInt(offset), data };
        offset += data.length;
      }
      yield { ...about, action: COMMIT, offset: BigInt(offset), labels };
    }
    try {
      await explained(this.#client.converse(write, parts(), this.#headers));
    } catch (error) {
      if (!(error instanceof DrakkarError) || error.code !== 'already_exists') throw error;
      const paths = Object.keys(labels).map((name) => `labels.${name}`);
      if (paths.length === 0) return;
      const request = { info: { digest, labels }, updateMask: { paths } };
      await explained(this.#client.call(update, request, this.#headers));
    }
  }

  /** Asks a snapshotter for a layer. Gives whether it need not be unpacked; then it is there under its chain id. */
  async hasLayer(snapshotter: string, chainId: Digest, parent: string, labels: Labels): Promise<boolean> {
    const { prepare, remove, stat } = containerd.Snapshots.method;
    const about = (key: string) => ({ snapshotter, key });
    const known = this.#client.call(stat, about(chainId), this.#headers);
    if (await known.then(Boolean, () => false)) return true;
    const key = `extract-${randomUUID()} ${chainId}`;
    try {
      await explained(this.#client.call(prepare, { ...about(key), parent, labels }, this.#headers));
    } catch (error) {
      if (error instanceof DrakkarError && error.code === 'already_exists') return true;
      throw error;
    }
    await explained(this.#client.call(remove, about(key), this.#headers));
    return false;
  }

  /** Has a name mean an image, whatever it meant before. */
  async name(
    name: string,
    { mediaType, digest, size }: ContentName & { readonly mediaType: string },
  ): Promise<void> {
    const { create, update } = containerd.Images.method;
    const image = { name, target: { mediaType, digest, size: BigInt(size) } };
    try {
      await explained(this.#client.call(create, { image }, this.#headers));
    } catch (error) {
      if (!(error instanceof DrakkarError) || error.code !== 'already_exists') throw error;
      await explained(this.#client.call(update, { image }, this.#headers));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { delete: remove } = containerd.Leases.method;
    // It ends by itself, too.
    await this.#client.call(remove, { id: this.#lease }, this.#headers).catch(() => {});
    this.#client[Symbol.dispose]();
  }
}

async function explained<Answer>(answer: Promise<Answer>): Promise<Answer> {
  try {
    return await answer;
  } catch (error) {
    const { code, details } = error as ServiceError;
    throw new DrakkarError(CODES[code] ?? 'internal', `containerd: ${details}`, { cause: error });
  }
}
