import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import { containerd, grpcMethodOf } from '@drakkar/protocol';
import { Client, credentials, Metadata as Headers, type ServiceError, status } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { Metadata, Snapshots, serveSnapshots } from '../../src/service/index.ts';

const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

test('a call of containerd is done for the trace that it names, and for none where it names none', async () => {
  await using directory = await temporaryDirectory('calls');
  using metadata = new Metadata(join(directory.path, 'containerd.sqlite'));
  const images = { find: async () => undefined, forget: async () => true };
  const snapshots = new Snapshots({ metadata, layers: {} as never, images });
  const socket = join(directory.path, 'snapshotter.sock');
  const calls: unknown[] = [];
  await using _ = await serveSnapshots(socket, snapshots, {
    run: async (call, trace, answer) => {
      calls.push([call, trace]);
      return await answer();
    },
    failed: (call) => void calls.push(`${call} failed`),
  });
  const client = new Client(`unix:${socket}`, credentials.createInsecure());
  const { path, requestSerialize, responseDeserialize } = grpcMethodOf(containerd.Snapshots.method.stat);
  const codeOf = (headers: Headers) =>
    new Promise<status | undefined>((resolve) => {
      const answered = (error: ServiceError | null) => resolve(error?.code);
      client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        { key: 'none' },
        headers,
        answered,
      );
    });
  const headers = new Headers();
  headers.set('traceparent', traceparent);
  expect(await codeOf(headers)).toBe(status.NOT_FOUND);
  expect(await codeOf(new Headers())).toBe(status.NOT_FOUND);
  client.close();
  expect(calls).toEqual([
    ['Stat', traceparent],
    ['Stat', undefined],
  ]);
});
