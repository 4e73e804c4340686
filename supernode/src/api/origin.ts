import type { IncomingMessage, ServerResponse } from 'node:http';

/** How a request has come. */
export interface Origin {
  /** Over the unix socket, which root alone can open. */
  readonly isLocal: boolean;
  /** Of who has sent it, as far as that is known. */
  readonly address: string;
  /** By another supernode. */
  readonly isPassedOn?: boolean;
}

export type ApiHandler = (request: IncomingMessage, response: ServerResponse, origin: Origin) => void;

const ORIGINS = new WeakMap<IncomingMessage, Origin>();
const UNKNOWN: Origin = { isLocal: false, address: '' };

export const setOrigin = (request: IncomingMessage, origin: Origin): unknown => ORIGINS.set(request, origin);
export const originOf = (request: IncomingMessage): Origin => ORIGINS.get(request) ?? UNKNOWN;
