import { createHash } from 'node:crypto';
import { request as httpsRequest } from 'node:https';
import { Readable } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { DrakkarError } from '@drakkar/errors';

/** As `fetch`, over TLS with whom has a given public key: nothing is said before that is known. @throws `forbidden` for anybody else */
export async function pinnedFetch(request: Request, pin: string): Promise<Response> {
  const body = Buffer.from(await request.arrayBuffer());
  return await new Promise((resolve, reject) => {
    const outgoing = httpsRequest(request.url, {
      method: request.method,
      headers: Object.fromEntries(request.headers),
      signal: request.signal,
      // Whoever has signed its certificate: it is known by its key.
      rejectUnauthorized: false,
      agent: false,
    });
    outgoing.once('socket', (socket) =>
      socket.once('secureConnect', () => {
        const found = pinOf(socket as TLSSocket);
        if (found === pin) return outgoing.end(body);
        outgoing.destroy(
          new DrakkarError('forbidden', `the supernode shows another key than it did: ${found}`, {
            hint: 'somebody may be in between; if it was made anew, `drakkar login` with its new --pin',
          }),
        );
      }),
    );
    outgoing.once('error', reject);
    outgoing.once('response', (incoming) => {
      const status = incoming.statusCode ?? 502;
      const headers = Object.entries(incoming.headersDistinct).flatMap(([name, values = []]) =>
        values.map((value) => [name, value] as [string, string]),
      );
      const isEmpty = status === 204 || status === 304;
      if (isEmpty) incoming.resume();
      resolve(
        new Response(isEmpty ? null : (Readable.toWeb(incoming) as ReadableStream), { status, headers }),
      );
    });
  });
}

function pinOf(socket: TLSSocket): string | undefined {
  const key = socket.getPeerX509Certificate()?.publicKey.export({ type: 'spki', format: 'der' });
  return key && `sha256:${createHash('sha256').update(key).digest('hex')}`;
}
