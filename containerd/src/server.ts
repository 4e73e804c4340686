import { containerd } from '@drakkar/protocol';
import { explained } from './explained.ts';
import { GrpcClient } from './grpc-client.ts';

/** A containerd that runs. */
export interface ContainerdServer {
  /** As it says it: `v2.4.2`. */
  readonly version: string;
  /** Where it says that, which it does from 1.7 on. */
  readonly process: ContainerdProcess | undefined;
}

export interface ContainerdProcess {
  readonly pid: number;
  /** The inode of the namespace in which it has that number. */
  readonly namespace: bigint;
}

const ANSWER_MS = 10_000;

/** Asks the containerd at a socket who it is. @throws `unavailable` where none answers */
export async function containerdAt(socket: string, signal?: AbortSignal): Promise<ContainerdServer> {
  using client = new GrpcClient(socket);
  const options = { signal, timeoutMs: ANSWER_MS };
  const { version } = await explained(client.call(containerd.Version.method.version, {}, options));
  const { server } = containerd.Introspection.method;
  const { pid, pidns } = await explained(client.call(server, {}, options));
  return { version, process: pid === 0n ? undefined : { pid: Number(pid), namespace: pidns } };
}
