import type { ForgottenHost, SupernodeStatus, SwarmBlobSummary, SwarmHostSummary } from '@drakkar/client';
import { DrakkarError, type PeerId, parsePeerId } from '@drakkar/protocol';
import { type AdminServer, serveAdminSocket } from '@drakkar/service';
import { z } from 'zod';

export interface SupernodeAdmin {
  status(): SupernodeStatus;
  hosts(): SwarmHostSummary[];
  blobs(): SwarmBlobSummary[];
  joinToken(): string;
  rotateToken(): string;
  rotateKey(): Promise<void>;
  /** @returns whether it could have been a member until now; `false` where it was revoked already */
  revoke(peer: PeerId): boolean;
  forget(peer: PeerId): void;
  /** All that nothing was heard of for so long. */
  forgetAway(awayMs: number): ForgottenHost[];
}

const awayRequest = z.strictObject({ awayMs: z.int().min(0) });
const byPeer = z.object({ peer: z.string().max(100) });

/** The supernode's admin API on a unix socket. @throws `busy` where another supernode answers there */
export function serveSupernodeAdmin(socketPath: string, admin: SupernodeAdmin): Promise<AdminServer> {
  return serveAdminSocket(socketPath, 'supernode', (server) => {
    server.get('/v1/status', () => admin.status());
    server.get('/v1/hosts', () => admin.hosts());
    server.get('/v1/blobs', () => admin.blobs());
    server.get('/v1/token', () => ({ token: admin.joinToken() }));
    server.post('/v1/token/rotate', () => ({ token: admin.rotateToken() }));
    server.post('/v1/cluster-key/rotate', async () => {
      await admin.rotateKey();
      return admin.status();
    });
    server.post('/v1/members/forget', (request) => admin.forgetAway(awayRequest.parse(request.body).awayMs));
    server.post('/v1/members/:peer/forget', (request, reply) => {
      admin.forget(parsePeerId(byPeer.parse(request.params).peer));
      return reply.code(204).send();
    });
    server.post('/v1/members/:peer/revoke', (request, reply) => {
      const peer = parsePeerId(byPeer.parse(request.params).peer);
      if (!admin.revoke(peer)) throw new DrakkarError('forbidden', `${peer} was revoked already`);
      return reply.code(204).send();
    });
  });
}
