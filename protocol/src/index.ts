/**
 * What the parts of Drakkar share: names, documents, digests, tables, envelopes and errors. No I/O.
 *
 * @example
 * ```ts
 * import { digestOf, parseReference } from '@drakkar/protocol';
 *
 * const image = parseReference('debian:12'); // { registry: 'docker.io', repository: 'library/debian', tag: '12', … }
 * const digest = digestOf(new TextEncoder().encode('hello'));
 * ```
 *
 * @packageDocumentation
 */

export * from '@drakkar/errors';
export * from './blob-name.ts';
export * from './cells.ts';
export * from './chance.ts';
export * from './chunk-list.ts';
export * as containerd from './containerd.ts';
export * from './cut.ts';
export * from './digest.ts';
export * from './docker-config.ts';
export * from './dsse.ts';
export * from './grpc.ts';
export * from './host-port.ts';
export * from './identity.ts';
export * from './locality.ts';
export * from './merge-traces.ts';
export { type Message as HaveMessage, MessageSchema as HaveMessageSchema } from './messages/have_pb.ts';
export {
  CandidatesSchema,
  type Credential as CredentialMessage,
  type Find as FindMessage,
  type FirstPull as FirstPullMessage,
  type Found as FoundMessage,
  type FromDaemon,
  FromDaemonSchema,
  type FromSupernode,
  FromSupernodeSchema,
  type Heartbeat as HeartbeatMessage,
  type Hello,
  type Learn as LearnMessage,
  type Lost as LostMessage,
  type Name as NameMessage,
  type Peer as PeerMessage,
  type ReportTrace as ReportTraceMessage,
  type Snapshot as SnapshotMessage,
  SnapshotSchema as SnapshotMessageSchema,
  type Supernodes as SupernodesMessage,
  type Task as TaskMessage,
  type TaskReport as TaskReportMessage,
  TaskReportSchema as TaskReportMessageSchema,
  type TaskResult as TaskResultMessage,
  TaskResultSchema as TaskResultMessageSchema,
  TaskSchema as TaskMessageSchema,
} from './messages/supernode_pb.ts';
export * from './oci.ts';
export * from './pieces.ts';
export * from './reference.ts';
export * from './rendezvous.ts';
export * from './snapshot.ts';
export * from './statement.ts';
export * from './trace.ts';
