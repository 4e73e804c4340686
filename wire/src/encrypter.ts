import type { Socket } from 'node:net';
import { noise } from '@chainsafe/libp2p-noise';

type Create = ReturnType<typeof noise>;
type Encrypter = ReturnType<Create>;
type Secured = Awaited<ReturnType<Encrypter['secureInbound']>>;
type Connection = Parameters<Encrypter['secureInbound']>[0];

/** What a connection over TCP writes to. Source: libp2p's tcp 11, `socket-to-conn.ts`. */
interface OverSocket {
  readonly socket?: Pick<Socket, 'cork' | 'uncork'>;
}

/** The part of a stream of noise that reads how long a message is. Source: libp2p-noise 17, `utils.ts`. */
interface Decoding {
  readonly decoder: {
    lengthDecoder(data: { readonly byteLength: number; getUint16(at: number): number }): number;
  };
}

/** What says that there is not all of a length yet. It is thrown after every message, and to make one each time takes its stack, too. */
const NOT_YET = new RangeError('a length has two bytes');
const LENGTH_BYTES = 2;

/**
 * Noise as libp2p has it, that takes less of who hears thousands: it makes no error of each message that is read to its end, and one write of the kernel of all
 * that is said in a turn, where a packet's two bytes of length and the packet itself were two.
 */
export function quickNoise(): Create {
  const create = noise();
  return (components) => {
    const encrypter = create(components);
    const [secureInbound, secureOutbound] = [encrypter.secureInbound, encrypter.secureOutbound];
    encrypter.secureInbound = async (connection, options) =>
      quick(await secureInbound.call(encrypter, gather(connection), options));
    encrypter.secureOutbound = async (connection, options) =>
      quick(await secureOutbound.call(encrypter, gather(connection), options));
    return encrypter;
  };
}

function quick<Of extends Secured>(secured: Of): Of {
  const { decoder } = secured.connection as unknown as Decoding;
  decoder.lengthDecoder = (data) => {
    if (data.byteLength < LENGTH_BYTES) throw NOT_YET;
    return data.getUint16(0);
  };
  return secured;
}

function gather(connection: Connection): Connection {
  const { socket } = connection as OverSocket;
  if (socket === undefined) return connection;
  const send = connection.send.bind(connection);
  let isGathering = false;
  connection.send = (data) => {
    if (!isGathering) {
      isGathering = true;
      socket.cork();
      process.nextTick(() => {
        isGathering = false;
        socket.uncork();
      });
    }
    return send(data);
  };
  return connection;
}
