import type { SwarmHost } from '@drakkar/client';
import type { PeerId } from '@drakkar/protocol';
import { describe, expect, test } from 'vitest';
import { memberNamed } from '../../src/commands/supernode.ts';

const host = (name: string, peer: string, state: SwarmHost['state']): SwarmHost => ({
  name,
  peer: peer as PeerId,
  state,
  dataAddress: null,
  labels: {},
  roles: [],
  uploads: 0,
  uploadSlots: 8,
  blobs: 0,
  heardAtMs: 0,
  quarantinedUntilMs: null,
});

describe('the host that is to be revoked', () => {
  const hosts = [host('a', 'P1', 'revoked'), host('a', 'P2', 'away'), host('b', 'P3', 'revoked')];

  test('is the member of that name, whoever was revoked before it', () => {
    expect(memberNamed('a', hosts).peer).toBe('P2');
  });

  test('is said to be revoked already, or to be none', () => {
    expect(() => memberNamed('b', hosts)).toThrow(
      expect.objectContaining({ code: 'forbidden', message: 'b was revoked already' }),
    );
    expect(() => memberNamed('c', hosts)).toThrow(expect.objectContaining({ code: 'not_found' }));
  });
});
