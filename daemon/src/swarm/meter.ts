import type { PeerId } from '@drakkar/protocol';

/** Bytes that went to and came from peers, since the start. */
export class SwarmMeter {
  sentBytes = 0;
  receivedBytes = 0;

  sent(_: PeerId, bytes: number): void {
    this.sentBytes += bytes;
  }

  received(bytes: number): void {
    this.receivedBytes += bytes;
  }
}
