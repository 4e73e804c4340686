import type {
  DescMessage,
  DescMethodBiDiStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf';
import { grpcMethodOf } from '@drakkar/protocol';
import { Client, credentials, Metadata } from '@grpc/grpc-js';

const CALL_MS = 120_000;

export type GrpcHeaders = Readonly<Record<string, string>>;

/** Asks whoever serves methods of generated code at a unix socket. Calls reject with grpc-js's `ServiceError`, which has the status in `code`. */
export class GrpcClient implements Disposable {
  readonly #client: Client;

  constructor(socket: string) {
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure());
  }

  /** A call of one message each way. */
  call<Input extends DescMessage, Output extends DescMessage>(
    method: DescMethodUnary<Input, Output>,
    request: MessageInitShape<Input>,
    headers: GrpcHeaders = {},
  ): Promise<MessageShape<Output>> {
    const { path, requestSerialize, responseDeserialize } = grpcMethodOf(method);
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadataOf(headers),
        { deadline: Date.now() + CALL_MS },
        (error, answer) => (error === null ? resolve(answer as MessageShape<Output>) : reject(error)),
      );
    });
  }

  /** Sends many messages, each when the one before was answered. Returns when the other side has ended the call. */
  async converse<Input extends DescMessage, Output extends DescMessage>(
    method: DescMethodBiDiStreaming<Input, Output>,
    requests: AsyncIterable<MessageInitShape<Input>>,
    headers: GrpcHeaders = {},
  ): Promise<void> {
    const { path, requestSerialize, responseDeserialize } = grpcMethodOf(method);
    const stream = this.#client.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      metadataOf(headers),
    );
    const answers = stream[Symbol.asyncIterator]();
    try {
      for await (const request of requests) {
        stream.write(request);
        await answers.next();
      }
      stream.end();
      while (!(await answers.next()).done);
    } finally {
      stream.cancel();
    }
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

function metadataOf(headers: GrpcHeaders): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}
