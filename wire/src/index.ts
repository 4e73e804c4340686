/**
 * The control plane that daemons and supernodes share: libp2p over TCP with noise and yamux, and on its streams protobuf messages
 * with their length before them. Whom one speaks to is proven by the handshake; what a message says is checked by who reads it.
 *
 * @example
 * ```ts
 * import { startNode, SUPERNODE_PROTOCOL } from '@drakkar/wire';
 *
 * await using node = await startNode({ key, listen: [{ host: '0.0.0.0', port: 4400 }] });
 * await node.handle(SUPERNODE_PROTOCOL, (stream, peer) => serve(new Channel(stream, FromSupernodeSchema, FromDaemonSchema)));
 * ```
 *
 * @packageDocumentation
 */
export { multiaddrOf, reachable } from './addresses.ts';
export { Channel } from './channel.ts';
export { duplexOf } from './duplex.ts';
export { type ControlNode, type NodeOptions, type PeerStream, startNode } from './node.ts';
export {
  API_PROTOCOL,
  FEATURE_NAMES,
  FEATURE_REPLICAS,
  FEATURE_SNAPSHOTS,
  FEATURE_TABLES,
  FEATURE_TASKS,
  FEATURES,
  HAVE_PROTOCOL,
  MEMBER_MESSAGE_BYTES,
  PROTOCOL_VERSION,
  STRANGER_MESSAGE_BYTES,
  SUPERNODE_PROTOCOL,
} from './protocols.ts';
