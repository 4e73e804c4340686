/**
 * The laboratory: real servers, real images and comparisons on one machine, for tests, benchmarks and the demo.
 * Every server listens on a free loopback port, keeps to its own directory and ends with its scope.
 *
 * @packageDocumentation
 */
export * from './cache.ts';
export * from './changed-layer.ts';
export * from './child.ts';
export * from './collector.ts';
export * from './containerd.ts';
export * from './containerd-2.ts';
export * from './cri.ts';
export * from './debian.ts';
export * from './faulty-proxy.ts';
export * from './go-programs.ts';
export * from './image.ts';
export * from './kernel.ts';
export * from './kubernetes/index.ts';
export type { DebianLayer } from './layer-file.ts';
export * from './machine.ts';
export * from './mutate.ts';
export * from './noise.ts';
export * from './pause.ts';
export * from './ports.ts';
export * from './processes.ts';
export * from './redis.ts';
export * from './registry.ts';
export * from './schemathesis.ts';
export * from './shell.ts';
export * from './spegel.ts';
export * from './tar.ts';
export * from './temporary.ts';
export * from './token-server.ts';
export * from './transfer.ts';
export * from './tree.ts';
export * from './web-server.ts';
