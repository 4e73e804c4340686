import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { Client, credentials, Metadata } from '@grpc/grpc-js';

/** What containerd 2 is to fetch, and where from. */
export interface TransferRequest {
  /** Path of its gRPC socket. */
  readonly address: string;
  readonly namespace: string;
  readonly reference: string;
  /** Directory with `HOST/hosts.toml`. */
  readonly hostsDirectory: string;
}

const METHOD = '/containerd.services.transfer.v1.Transfer/Transfer';
/** Whoever misses it is not waited for any longer. */
const MOST_MS = 10 * 60_000;

/**
 * Has containerd 2 itself fetch an image into its content store, as it does for Kubernetes, and unpack nothing: its `ctr` would fetch in
 * a process of its own, or unpack.
 * Source: `services/transfer/v1/transfer.proto`, `types/transfer/{registry,imagestore}.proto` of containerd's API.
 *
 * @throws what containerd says
 */
export async function transferImage(request: TransferRequest): Promise<void> {
  const client = new Client(`unix:${request.address}`, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set('containerd-namespace', request.namespace);
  try {
    await new Promise<void>((resolve, reject) => {
      client.makeUnaryRequest(
        METHOD,
        encode,
        () => undefined,
        request,
        metadata,
        { deadline: Date.now() + MOST_MS },
        (error) => (error === null ? resolve() : reject(error)),
      );
    });
  } finally {
    client.close();
  }
}

function encode({ reference, hostsDirectory }: TransferRequest): Buffer {
  const resolver = message([3, hostsDirectory]);
  return Buffer.from(
    message(
      [1, any('OCIRegistry', message([1, reference], [2, resolver]))],
      [2, any('ImageStore', message([1, reference]))],
    ),
  );
}

const any = (name: string, value: Uint8Array): Uint8Array =>
  message([1, `containerd.types.transfer.${name}`], [2, value]);

function message(...fields: readonly (readonly [number, string | Uint8Array])[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const [number, value] of fields) {
    writer.tag(number, WireType.LengthDelimited);
    if (typeof value === 'string') writer.string(value);
    else writer.bytes(value);
  }
  return writer.finish();
}
