import { Duplex } from 'node:stream';
import type { PeerStream } from './node.ts';

/** A stream of libp2p as Node has streams: what its user does not read yet stays with the sender. */
export function duplexOf({ stream }: PeerStream): Duplex {
  const duplex = new Duplex({
    read: () => {
      if (isReadable(stream)) stream.resume();
    },
    write: (chunk: Uint8Array, _, done) => {
      try {
        if (stream.send(chunk)) done();
        else stream.onDrain().then(() => done(), done);
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)));
      }
    },
    final: (done) => void stream.close().then(() => done(), done),
    destroy: (error, done) => {
      if (stream.status === 'open' || stream.status === 'closing')
        stream.abort(error ?? new Error('nobody needs it any more'));
      done(error);
    },
  });
  stream.addEventListener('message', ({ data }) => {
    if (!duplex.push(data.subarray()) && isReadable(stream)) stream.pause();
  });
  stream.addEventListener('remoteCloseWrite', () => duplex.push(null));
  stream.addEventListener('close', ({ error }) => {
    if (error !== undefined) duplex.destroy(error);
    else if (!duplex.readableEnded) duplex.push(null);
  });
  return duplex;
}

/** Its end may come before who reads is told of it, and then neither can be said. */
const isReadable = ({ readStatus }: PeerStream['stream']): boolean =>
  readStatus === 'readable' || readStatus === 'paused';
