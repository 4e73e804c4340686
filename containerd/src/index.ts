/**
 * A host’s containerd, as one who gives it images calls it.
 *
 * @example
 * ```ts
 * import { ContainerdClient } from '@drakkar/containerd';
 *
 * await using client = await ContainerdClient.open('/run/containerd/containerd.sock', 'k8s.io');
 * await client.write({ digest, size }, {}, () => daemon.content(digest, { startBytes: 0, endBytes: size }));
 * ```
 *
 * @packageDocumentation
 */
export { ContainerdClient, type ContentName, type Labels } from './containerd-client.ts';
export { type CallOptions, GrpcClient, type GrpcHeaders } from './grpc-client.ts';
export { type ContainerdProcess, type ContainerdServer, containerdAt } from './server.ts';
