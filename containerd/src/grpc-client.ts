import type {
  DescMessage,
  DescMethodBiDiStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf';
import { DrakkarError } from '@drakkar/errors';
import { grpcMethodOf } from '@drakkar/protocol';
import { Client, credentials, Metadata } from '@grpc/grpc-js';

const CALL_MS = 120_000;

export interface CallOptions {
  readonly headers?: GrpcHeaders;
  readonly signal?: AbortSignal | undefined;
  /** Two minutes where absent. */
  readonly timeoutMs?: number;
}

export type GrpcHeaders = Readonly<Record<string, string>>;

/** Asks whoever serves methods of generated code at a unix socket. Calls reject with grpc-js's `ServiceError`, which has the status in `code`. */
export class GrpcClient implements Disposable {
  readonly #client: Client;

  /** @param socket a path, or a `unix://` address */
  constructor(socket: string) {
    const path = socket.replace(/^unix:\/\//, '');
    this.#client = new Client(`unix:${path}`, credentials.createInsecure());
  }

  /** A call of one message each way. */
  call<Input extends DescMessage, Output extends DescMessage>(
    method: DescMethodUnary<Input, Output>,
    request: MessageInitShape<Input>,
    { headers = {}, signal, timeoutMs = CALL_MS }: CallOptions = {},
  ): Promise<MessageShape<Output>> {
    const { path, requestSerialize, responseDeserialize } = grpcMethodOf(method);
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadataOf(headers),
        { deadline: Date.now() + timeoutMs },
        (error, answer) => {
          signal?.removeEventListener('abort', cancel);
          if (error === null) resolve(answer as MessageShape<Output>);
          else reject(error);
        },
      );
      const cancel = () => call.cancel();
      signal?.addEventListener('abort', cancel);
      if (signal?.aborted) cancel();
    });
  }

  /**
   * Sends many messages, each when the one before was answered. Returns when the other side has ended the call.
   *
   * @throws `timeout` where it does not answer; `unavailable` where it ends before it has answered all
   */
  async converse<Input extends DescMessage, Output extends DescMessage>(
    method: DescMethodBiDiStreaming<Input, Output>,
    requests: AsyncIterable<MessageInitShape<Input>>,
    { headers = {}, signal, timeoutMs = CALL_MS }: CallOptions = {},
  ): Promise<void> {
    const { path, requestSerialize, responseDeserialize } = grpcMethodOf(method);
    const stream = this.#client.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      metadataOf(headers),
    );
    // Whoever waits for an answer is told as well.
    stream.on('error', () => {});
    const answers = stream[Symbol.asyncIterator]();
    const answered = async () => {
      let isLate = false;
      const timer = setTimeout(() => {
        isLate = true;
        stream.cancel();
      }, timeoutMs);
      try {
        return await answers.next();
      } catch (error) {
        if (isLate) throw new DrakkarError('timeout', `${path} was not answered within ${timeoutMs} ms`);
        throw error;
      } finally {
        clearTimeout(timer);
      }
    };
    const cancel = () => stream.cancel();
    signal?.addEventListener('abort', cancel);
    try {
      for await (const request of requests) {
        signal?.throwIfAborted();
        stream.write(request);
        if ((await answered()).done)
          throw new DrakkarError('unavailable', `${path} was ended before all was answered`);
      }
      stream.end();
      while (!(await answered()).done);
    } finally {
      signal?.removeEventListener('abort', cancel);
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
