import {
  create,
  type DescMethod,
  type DescService,
  fromBinary,
  type Message,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';

/** A method as `@grpc/grpc-js` serves and calls it. What is to be sent may be given by its fields alone. */
export interface GrpcMethod {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  requestSerialize(message: MessageInitShape<DescMethod['input']>): Buffer;
  requestDeserialize(bytes: Buffer): Message;
  responseSerialize(message: MessageInitShape<DescMethod['output']>): Buffer;
  responseDeserialize(bytes: Buffer): Message;
}

export function grpcMethodOf({ parent, name, methodKind, input, output }: DescMethod): GrpcMethod {
  return {
    path: `/${parent.typeName}/${name}`,
    requestStream: methodKind === 'client_streaming' || methodKind === 'bidi_streaming',
    responseStream: methodKind === 'server_streaming' || methodKind === 'bidi_streaming',
    requestSerialize: (message) => Buffer.from(toBinary(input, create(input, message))),
    requestDeserialize: (bytes) => fromBinary(input, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(output, create(output, message))),
    responseDeserialize: (bytes) => fromBinary(output, bytes),
  };
}

/** The methods of a service of generated code, by name. */
export function grpcMethodsOf({ methods }: DescService): Record<string, GrpcMethod> {
  return Object.fromEntries(methods.map((method) => [method.localName, grpcMethodOf(method)]));
}
