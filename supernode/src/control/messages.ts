import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import {
  type BlobName,
  CandidatesSchema,
  encodeBlobName,
  FromSupernodeSchema,
  type PeerId,
  rawOf,
} from '@drakkar/protocol';
import type { NameAnswer } from '../swarm/names.ts';
import type { Host } from '../swarm/state.ts';

export type FromSupernodeInit = MessageInitShape<typeof FromSupernodeSchema>;

export const namedMessage = ({ key, meaning }: NameAnswer): FromSupernodeInit => {
  const known = typeof meaning === 'string' ? undefined : meaning;
  return {
    message: {
      case: 'named',
      value: {
        key: rawOf(key),
        digest: known === undefined ? new Uint8Array() : rawOf(known.digest),
        sizeBytes: BigInt(known?.sizeBytes ?? 0),
        yours: meaning === 'yours',
      },
    },
  };
};

export const supernodesMessage = (
  supernodes: readonly { readonly address: string; readonly serving: boolean }[],
  revision: number,
): FromSupernodeInit => ({
  message: {
    case: 'supernodes',
    value: {
      supernodes: supernodes.map(({ address, serving }) => ({ address, serving })),
      revision: BigInt(revision),
    },
  },
});

/**
 * The encoded `Candidates`. A host's own part is encoded once, since it is told to many: fields of a message may follow each other in
 * any number of pieces. Source: protobuf's encoding, "Last One Wins" and "Repeated".
 */
export function encodeCandidates(
  blob: BlobName,
  rest: { readonly grant: string; readonly upstream: boolean },
  parents: readonly Host[],
  seeds: ReadonlySet<PeerId>,
): Uint8Array {
  const head = create(CandidatesSchema, { blob: encodeBlobName(blob), ...rest });
  const parts = [toBinary(CandidatesSchema, head), ...parents.map((host) => encodedPeer(host, seeds))];
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const field = FromSupernodeSchema.field.candidates.number;
  const start = new BinaryWriter().tag(field, WireType.LengthDelimited).uint32(length).finish();
  return Buffer.concat([start, ...parts], start.length + length);
}

const ENCODED = { complete: new WeakMap<Host, Uint8Array>(), partial: new WeakMap<Host, Uint8Array>() };

function encodedPeer(host: Host, seeds: ReadonlySet<PeerId>): Uint8Array {
  const complete = seeds.has(host.peer);
  const kept = complete ? ENCODED.complete : ENCODED.partial;
  const known = kept.get(host);
  if (known !== undefined) return known;
  const { peer, dataAddress, controlAddresses } = host;
  const alone = create(CandidatesSchema, {
    peers: [{ peer, dataAddress, controlAddresses: [...controlAddresses], complete }],
  });
  const bytes = toBinary(CandidatesSchema, alone);
  kept.set(host, bytes);
  return bytes;
}
