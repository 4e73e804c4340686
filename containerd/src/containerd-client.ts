import { randomUUID } from 'node:crypto';
import { DrakkarError } from '@drakkar/errors';
import { containerd, type Digest } from '@drakkar/protocol';
import { explained } from './explained.ts';
import { type CallOptions, GrpcClient } from './grpc-client.ts';

export type Labels = Readonly<Record<string, string>>;

/** Content as containerd names it. */
export interface ContentName {
  readonly digest: Digest;
  readonly size: number;
}

/** Of `WriteAction`. Source: containerd's api/services/content/v1/content.proto. */
const WRITE = 1;
const COMMIT = 2;
const LEASE_MS = 24 * 3_600_000;
const END_MS = 10_000;
/** A snapshotter may have to make a layer's snapshot first. */
const PREPARE_MS = 30 * 60_000;

/**
 * A containerd in one of its namespaces, while a lease keeps it from collecting what nothing refers to yet. Calls throw {@link DrakkarError}s with
 * containerd's own words; `unavailable` where none answers.
 */
export class ContainerdClient implements AsyncDisposable {
  readonly #client: GrpcClient;
  readonly #lease: string;
  readonly #namespace: string;
  readonly #options: CallOptions;

  private constructor(client: GrpcClient, namespace: string, lease: string, signal: AbortSignal | undefined) {
    this.#client = client;
    this.#lease = lease;
    this.#namespace = namespace;
    this.#options = { headers: { 'containerd-namespace': namespace, 'containerd-lease': lease }, signal };
  }

  /** @param socket of containerd itself, which only root may open */
  static async open(socket: string, namespace: string, signal?: AbortSignal): Promise<ContainerdClient> {
    const client = new GrpcClient(socket);
    const id = `drakkar-${randomUUID()}`;
    const labels = { 'containerd.io/gc.expire': new Date(Date.now() + LEASE_MS).toISOString() };
    try {
      const { create } = containerd.Leases.method;
      const headers = { 'containerd-namespace': namespace };
      await explained(client.call(create, { id, labels }, { headers, signal }));
      return new ContainerdClient(client, namespace, id, signal);
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
      // A name of its own: what another writes of the same nobody waits for.
      const about = { ref: `drakkar-${randomUUID()}`, total: BigInt(size), expected: digest };
      let offset = 0;
      for await (const data of await open()) {
        yield { ...about, action: WRITE, offset: BigInt(offset), data };
        offset += data.length;
      }
      yield { ...about, action: COMMIT, offset: BigInt(offset), labels };
    }
    try {
      await explained(this.#client.converse(write, parts(), this.#options));
    } catch (error) {
      if (!(error instanceof DrakkarError) || error.code !== 'already_exists') throw error;
      const paths = Object.keys(labels).map((name) => `labels.${name}`);
      if (paths.length === 0) return;
      const request = { info: { digest, labels }, updateMask: { paths } };
      await explained(this.#client.call(update, request, this.#options));
    }
  }

  /** Asks a snapshotter for a layer. Gives whether it need not be unpacked; then it is there under its chain id. */
  async hasLayer(snapshotter: string, chainId: Digest, parent: string, labels: Labels): Promise<boolean> {
    const { prepare, remove } = containerd.Snapshots.method;
    const key = `extract-${randomUUID()} ${chainId}`;
    const options = { ...this.#options, timeoutMs: PREPARE_MS };
    try {
      // Also of what is there: only so the lease keeps it.
      await explained(this.#client.call(prepare, { snapshotter, key, parent, labels }, options));
    } catch (error) {
      if (error instanceof DrakkarError && error.code === 'already_exists') return true;
      throw error;
    }
    await explained(this.#client.call(remove, { snapshotter, key }, this.#options));
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
      await explained(this.#client.call(create, { image }, this.#options));
    } catch (error) {
      if (!(error instanceof DrakkarError) || error.code !== 'already_exists') throw error;
      const request = { image, updateMask: { paths: ['target'] } };
      await explained(this.#client.call(update, request, this.#options));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { delete: remove } = containerd.Leases.method;
    // It ends by itself, too.
    const headers = { 'containerd-namespace': this.#namespace };
    await this.#client.call(remove, { id: this.#lease }, { headers, timeoutMs: END_MS }).catch(() => {});
    this.#client[Symbol.dispose]();
  }
}
