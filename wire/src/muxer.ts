import { yamux } from '@chainsafe/libp2p-yamux';

type Factory = ReturnType<ReturnType<typeof yamux>>;
type Muxer = ReturnType<Factory['createStreamMuxer']>;

/** The parts of a yamux stream that say how much its peer may send. Source: libp2p-yamux 8, `stream.ts`. */
interface Windowed {
  readonly state: number;
  readonly recvWindow: number;
  readonly recvWindowCapacity: number;
  sendWindowUpdate(): void;
}

interface StreamMaker {
  _newStream(...of: unknown[]): Windowed;
}

/** Nothing has been answered yet: an update is what answers. Source: libp2p-yamux 8, `StreamState`. */
const UNANSWERED: ReadonlySet<number> = new Set([0, 2]);
/** Pings find the delay, by which windows grow, and keep a connection that nobody uses: libp2p's TCP ends one that was silent for two minutes. Its own are twice as many. */
const KEEP_ALIVE_MS = 60_000;

/**
 * Yamux that says half as much: libp2p's tells a peer after each frame that it may send as much again, which costs a frame, an encryption and a write. Here
 * it is told when half of its window is used, as the specification has it.
 */
export function quietYamux(maxStreams: number): () => Factory {
  const create = yamux({
    maxInboundStreams: maxStreams,
    maxOutboundStreams: maxStreams,
    keepAliveInterval: KEEP_ALIVE_MS,
  });
  return () => {
    const factory = create();
    const { createStreamMuxer } = factory;
    factory.createStreamMuxer = (connection) => quiet(createStreamMuxer.call(factory, connection));
    return factory;
  };
}

function quiet(muxer: Muxer): Muxer {
  const maker = muxer as unknown as StreamMaker;
  const make = maker._newStream.bind(muxer);
  maker._newStream = (...of) => {
    const stream = make(...of);
    const update = stream.sendWindowUpdate.bind(stream);
    stream.sendWindowUpdate = () => {
      const isHalfUsed = stream.recvWindowCapacity <= stream.recvWindow / 2;
      if (isHalfUsed || UNANSWERED.has(stream.state)) update();
    };
    return stream;
  };
  return muxer;
}
