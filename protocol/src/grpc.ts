import { create, type DescService, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';

/** A method as `@grpc/grpc-js` serves and calls it. */
export interface GrpcMethod {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  requestSerialize(message: Message): Buffer;
  requestDeserialize(bytes: Buffer): Message;
  responseSerialize(message: Message): Buffer;
  responseDeserialize(bytes: Buffer): Message;
}

/** The methods of a service of generated code, by name; what is to be sent may be given by its fields alone. */
export function grpcMethodsOf(service: DescService): Record<string, GrpcMethod> {
  const methods = service.methods.map(({ name, localName, methodKind, input, output }) => {
    const method: GrpcMethod = {
      path: `/${service.typeName}/${name}`,
      requestStream: methodKind === 'client_streaming' || methodKind === 'bidi_streaming',
      responseStream: methodKind === 'server_streaming' || methodKind === 'bidi_streaming',
      requestSerialize: (message) => Buffer.from(toBinary(input, create(input, message))),
      requestDeserialize: (bytes) => fromBinary(input, bytes),
      responseSerialize: (message) => Buffer.from(toBinary(output, create(output, message))),
      responseDeserialize: (bytes) => fromBinary(output, bytes),
    };
    return [localName, method] as const;
  });
  return Object.fromEntries(methods);
}
