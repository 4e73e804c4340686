import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type BlobName,
  type Digest,
  decodeBlobName,
  digestFromRaw,
  encodeBlobName,
  type FromSupernode,
  type HostPort,
  type PeerId,
  type PeerMessage,
  parseHostPort,
  parsePeerId,
  parseSupernodeAddress,
  type SupernodeAddress,
  type SupernodesMessage,
  type TaskResultMessageSchema,
} from '@drakkar/protocol';
import type { FromDaemonInit } from './supernode-link.ts';

export interface Candidate {
  readonly peer: PeerId;
  readonly dataAddress: HostPort;
  readonly controlAddresses: readonly HostPort[];
  readonly complete: boolean;
}

/** What the supernode says about a blob. */
export interface SupernodeAdvice {
  readonly blob: BlobName;
  readonly grant: string;
  readonly candidates: readonly Candidate[];
  /** This host may read the blob from its registry. */
  readonly upstream: boolean;
}

/** What the supernode says a name means; `wait` while another host finds it out. */
export interface Named {
  readonly key: Digest;
  readonly meaning: NameMeaning | 'yours' | 'wait';
}

export interface NameMeaning {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

export interface AnnouncedBlob {
  readonly name: BlobName;
  readonly sizeBytes: number;
  readonly pieces: number;
}

/** What a host says about a name; all it leaves out is nothing. */
export interface NameNews {
  readonly sizeBytes?: bigint;
  readonly digest?: Uint8Array;
  readonly readBytes?: bigint;
  readonly givesUp?: boolean;
}

/** What a host says and asks about snapshots. */
export type SnapshotsSaid = Extract<
  FromDaemonInit,
  { readonly case: 'announce' | 'find' | 'lost' | 'learn' | 'reportTrace' }
>;

/** How far a host is with what it was given to do; the last one has a result or an error. */
export interface TaskReportInit {
  readonly id: string;
  readonly phase?: string;
  readonly doneBytes?: bigint;
  readonly totalBytes?: bigint;
  readonly result?: MessageInitShape<typeof TaskResultMessageSchema>;
  readonly error?: { readonly code: string; readonly message: string; readonly hint: string };
}

/** More than any cluster has. */
const MAX_SUPERNODES = 16;

type Said<Case> = Extract<FromSupernode['message'], { readonly case: Case }>['value'];

export function adviceOf({ blob, grant, upstream, peers }: Said<'candidates'>): SupernodeAdvice {
  return { blob: decodeBlobName(blob), grant, upstream, candidates: candidatesOf(peers) };
}

export function namedOf({ key, digest, sizeBytes, yours }: Said<'named'>): Named {
  const known =
    digest.length === 0 ? undefined : { digest: digestFromRaw(digest), sizeBytes: Number(sizeBytes) };
  return { key: digestFromRaw(key), meaning: known ?? (yours ? 'yours' : 'wait') };
}

/** One that cannot be asked, or not by this version, is no reason to do without the others. */
export function candidatesOf(peers: readonly PeerMessage[]): Candidate[] {
  return peers.flatMap(({ peer, dataAddress, controlAddresses, complete }) => {
    try {
      return {
        peer: parsePeerId(peer),
        dataAddress: parseHostPort(dataAddress),
        controlAddresses: controlAddresses.map(parseHostPort),
        complete,
      };
    } catch {
      return [];
    }
  });
}

/** By peer: where each is, and whether blobs may be its own. */
/** All supernodes, as one of them knows them. */
export interface ToldSupernodes {
  readonly all: ReadonlyMap<PeerId, { readonly address: SupernodeAddress; readonly serving: boolean }>;
  /** A greater one is newer; 0 from one that does not say. */
  readonly revision: bigint;
}

export function supernodesOf({ supernodes, revision }: SupernodesMessage): ToldSupernodes {
  const known = supernodes.slice(0, MAX_SUPERNODES).flatMap(({ address: text, serving }) => {
    try {
      const address = parseSupernodeAddress(text);
      return [[address.peer, { address, serving }] as const];
    } catch {
      return [];
    }
  });
  return { all: new Map(known), revision };
}

export function announcement({ name, sizeBytes, pieces }: AnnouncedBlob, havePieces: number) {
  return { blob: encodeBlobName(name), sizeBytes: BigInt(sizeBytes), pieces, havePieces };
}
