import type { DescService } from '@bufbuild/protobuf';
import { grpcMethodsOf } from '@drakkar/protocol';
import { Client, credentials } from '@grpc/grpc-js';

const CALL_MS = 120_000;

/** Asks whoever serves some services of generated code at a unix socket. */
export class GrpcClient implements Disposable {
  readonly #client: Client;
  readonly #methods;

  constructor(socket: string, services: readonly DescService[]) {
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure());
    this.#methods = Object.assign({}, ...services.map(grpcMethodsOf)) as ReturnType<typeof grpcMethodsOf>;
  }

  /** A call of one message each way, by its name as generated code has it. */
  call<Answer>(name: string, request: object): Promise<Answer> {
    const method = this.#methods[name];
    if (method === undefined) throw new Error(`there is no call ${name}`);
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        method.path,
        (message: object) => method.requestSerialize(message as never),
        method.responseDeserialize,
        request,
        { deadline: Date.now() + CALL_MS },
        (error, answer) => (error === null ? resolve(answer as Answer) : reject(error)),
      );
    });
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}
