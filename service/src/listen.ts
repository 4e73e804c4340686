import type { AddressInfo, Server } from 'node:net';
import { DrakkarError, type ErrorCode, errnoOf, formatHostPort } from '@drakkar/protocol';

export interface ListenOptions {
  readonly address: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Who listens: `the mirror`. */
  readonly what: string;
  /** Which settings name address and port: `mirror`, of `mirror.address` and `mirror.port`. */
  readonly settings: string;
  /** What to do about a port that is in use. */
  readonly instead: string;
}

const REASONS: Readonly<Record<string, { readonly code: ErrorCode; readonly why: string }>> = {
  EADDRINUSE: { code: 'busy', why: 'the port is in use' },
  EACCES: { code: 'forbidden', why: 'only root may use this port' },
  EADDRNOTAVAIL: { code: 'unavailable', why: 'this machine has no such address' },
};

/** Listens when it returns. @returns the port. @throws `busy` where the port is taken, `forbidden`, `unavailable` */
export async function listen(server: Server, options: ListenOptions): Promise<number> {
  const { address, port } = options;
  await new Promise<void>((resolve, reject) => {
    const refuse = (cause: Error) => reject(cannotListen(cause, options));
    server.once('error', refuse);
    server.listen(port, address, () => {
      server.off('error', refuse);
      resolve();
    });
  });
  return (server.address() as AddressInfo).port;
}

/** What is said of a failure to listen. */
export function cannotListen(
  cause: unknown,
  { address, port, what, settings, instead }: ListenOptions,
): DrakkarError {
  const errno = errnoOf(cause) ?? '';
  const message = cause instanceof Error ? cause.message : String(cause);
  const { code, why } = REASONS[errno] ?? { code: 'unavailable', why: message };
  const hint = errno === 'EADDRNOTAVAIL' ? `set ${settings}.address to one of this machine’s` : instead;
  const where = formatHostPort({ host: address, port });
  return new DrakkarError(code, `${what} cannot listen on ${where}: ${why}`, { hint, cause });
}
