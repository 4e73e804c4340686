import { chmod, lstat, rm } from 'node:fs/promises';
import { containerd, DrakkarError, type ErrorCode, grpcMethodsOf, toDrakkarError } from '@drakkar/protocol';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';

import type { SnapshotRow } from './metadata.ts';
import type { Snapshots } from './snapshots.ts';

/** As containerd understands them. Source: pkg/errgrpc of github.com/containerd/errdefs. */
const STATUSES: Readonly<Record<ErrorCode, status>> = {
  invalid_argument: status.INVALID_ARGUMENT,
  invalid_content: status.DATA_LOSS,
  limit_exceeded: status.RESOURCE_EXHAUSTED,
  not_found: status.NOT_FOUND,
  no_platform: status.NOT_FOUND,
  unauthorized: status.UNAUTHENTICATED,
  forbidden: status.PERMISSION_DENIED,
  unavailable: status.UNAVAILABLE,
  timeout: status.DEADLINE_EXCEEDED,
  no_space: status.RESOURCE_EXHAUSTED,
  busy: status.FAILED_PRECONDITION,
  already_exists: status.ALREADY_EXISTS,
  unsupported: status.UNIMPLEMENTED,
  cancelled: status.CANCELLED,
  internal: status.INTERNAL,
};

const KINDS = { view: 1, active: 2, committed: 3 } as const;

/** Snapshots in one message of a list. */
const LIST_PAGE = 100;

/** Far more than labels may have, and small enough for anybody's memory. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** A call that has no answer but that it was done. */
const DONE = {};

/** What goes on around calls of containerd. */
export interface CallEvents {
  /** Does one. @param traceparent of the trace for which containerd makes it, where it says so */
  run<Answer>(call: string, traceparent: unknown, answer: () => Promise<Answer>): Promise<Answer>;
  /** One has failed that should not: it is our own fault. */
  failed(call: string, error: DrakkarError): void;
}

/**
 * Serves snapshots to containerd on a unix socket, which only the process's own user and root may open.
 *
 * @throws `already_exists` where something else than a socket is there
 */
export async function serveSnapshots(
  socketPath: string,
  snapshots: Snapshots,
  events: CallEvents,
): Promise<AsyncDisposable> {
  const server = new Server({ 'grpc.max_receive_message_length': MAX_MESSAGE_BYTES });
  server.addService(grpcMethodsOf(containerd.Snapshots), implementation(snapshots, events));
  await removeSocket(socketPath);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  await chmod(socketPath, 0o600);
  return {
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.tryShutdown(() => resolve());
        // Containerd keeps its connection for ever.
        server.forceShutdown();
      }),
  };
}

/** What a snapshotter before this one has left. */
async function removeSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new DrakkarError('already_exists', `${path} is no socket`, {
      hint: 'move it away, or give the snapshotter another containerd.snapshotterSocket',
    });
  }
  await rm(path);
}

function implementation(snapshots: Snapshots, events: CallEvents): UntypedServiceImplementation {
  const failed = (call: string, cause: unknown) => {
    const error = toDrakkarError(cause);
    if (error.code === 'internal') events.failed(call, error);
    return { code: STATUSES[error.code], details: error.message };
  };
  const unary =
    <Request, Answer>(call: string, answer: (request: Request) => Answer | Promise<Answer>) =>
    ({ request, metadata }: ServerUnaryCall<Request, Answer>, callback: sendUnaryData<Answer>) => {
      const [traceparent] = metadata.get('traceparent');
      events
        .run(call, traceparent, async () => await answer(request))
        .then(
          (value) => callback(null, value),
          (cause: unknown) => callback(failed(call, cause)),
        );
    };
  return {
    prepare: unary('Prepare', async ({ key, parent, labels }: containerd.PrepareSnapshotRequest) => ({
      mounts: await snapshots.prepare({ name: key, parent, labels }),
    })),
    view: unary('View', async ({ key, parent, labels }: containerd.ViewSnapshotRequest) => ({
      mounts: await snapshots.view({ name: key, parent, labels }),
    })),
    mounts: unary('Mounts', async ({ key }: containerd.MountsRequest) => ({
      mounts: await snapshots.mounts(key),
    })),
    commit: unary('Commit', async ({ key, name, parent, labels }: containerd.CommitSnapshotRequest) => {
      await snapshots.commit(key, { name, parent, labels });
      return DONE;
    }),
    remove: unary('Remove', async ({ key }: containerd.RemoveSnapshotRequest) => {
      await snapshots.remove(key);
      return DONE;
    }),
    stat: unary('Stat', ({ key }: containerd.StatSnapshotRequest) => ({ info: infoOf(snapshots.stat(key)) })),
    update: unary('Update', ({ info, updateMask }: containerd.UpdateSnapshotRequest) => ({
      info: infoOf(snapshots.update(info?.name ?? '', info?.labels ?? {}, updateMask?.paths ?? [])),
    })),
    usage: unary('Usage', async ({ key }: containerd.UsageRequest) => {
      const { bytes, inodes } = await snapshots.usage(key);
      return { size: BigInt(bytes), inodes: BigInt(inodes) };
    }),
    cleanup: unary('Cleanup', async () => {
      await snapshots.cleanup();
      return DONE;
    }),
    list: (call: ServerWritableStream<containerd.ListSnapshotsRequest, unknown>) => {
      try {
        const rows = snapshots.list(call.request.filters);
        for (let at = 0; at < rows.length; at += LIST_PAGE)
          call.write({ info: rows.slice(at, at + LIST_PAGE).map(infoOf) });
        call.end();
      } catch (cause) {
        call.destroy(Object.assign(new Error(), failed('List', cause)));
      }
    },
  };
}

function infoOf({ name, parent, kind, labels, createdUs, updatedUs }: SnapshotRow) {
  return {
    name,
    parent,
    kind: KINDS[kind],
    createdAt: timestampOf(createdUs),
    updatedAt: timestampOf(updatedUs),
    labels: { ...labels },
  };
}

const timestampOf = (microseconds: number) => ({
  seconds: BigInt(Math.floor(microseconds / 1_000_000)),
  nanos: (microseconds % 1_000_000) * 1000,
});
