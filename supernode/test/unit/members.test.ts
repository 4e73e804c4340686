import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { temporaryDirectory } from '@drakkar/lab';
import { type PeerId, parseJoinToken, peerIdOf } from '@drakkar/protocol';
import { describe, expect, test } from 'vitest';
import { Authority } from '../../src/members/authority.ts';
import { forget, forgetAway } from '../../src/members/forget.ts';
import { importMembers } from '../../src/members/import.ts';
import { Members } from '../../src/members/members.ts';
import { SqliteState, WriteBehind } from '../../src/state/index.ts';

const DAY_MS = 24 * 3_600_000;
const OPTIONS = { membershipMs: 7 * DAY_MS, grantMs: 60_000 };

async function startCluster(nowMs: number) {
  await using started = new AsyncDisposableStack();
  const { path } = started.use(await temporaryDirectory('members'));
  const state = started.use(new SqliteState(join(path, 'state.sqlite')));
  const members = await Members.open(state, started.use(new WriteBehind(state)));
  const authority = await Authority.open(OPTIONS, members, join(path, 'keys'));
  const { secret: joinSecret } = parseJoinToken(authority.joinToken());
  const connected = new Set<PeerId>();
  const enrol = (name: string) => {
    const claim = { peer: peerIdOf(generateKeyPairSync('ed25519').publicKey), name };
    return { ...claim, membership: authority.admit({ ...claim, membership: '', joinSecret }, nowMs) ?? '' };
  };
  const modules = { members, isConnected: (peer: PeerId) => connected.has(peer) };
  const running = started.move();
  return {
    members,
    authority,
    connected,
    enrol,
    modules,
    names: () => members.list().map(({ name }) => name),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

describe('a host that is away', () => {
  test('is forgotten, and a member again should it come back with a membership that is good', async () => {
    const nowMs = Date.now();
    await using cluster = await startCluster(nowMs);
    const host = cluster.enrol('a');
    const again = { ...host, joinSecret: '' };
    expect(cluster.authority.admit(again, nowMs)).toBeUndefined();
    forget(host.peer, cluster.modules);
    expect(cluster.names()).toEqual([]);
    expect(cluster.authority.admit(again, nowMs)).toBeTypeOf('string');
    expect(cluster.names()).toEqual(['a']);
    forget(host.peer, cluster.modules);
    expect(() => cluster.authority.admit(again, nowMs + 9 * DAY_MS)).toThrow(
      expect.objectContaining({ code: 'unauthorized' }),
    );
  });

  test('and is revoked then is believed no longer, though its membership would hold', async () => {
    const nowMs = Date.now();
    await using cluster = await startCluster(nowMs);
    const { peer } = cluster.enrol('stolen');
    forget(peer, cluster.modules);
    expect(cluster.members.revoke(peer, nowMs, nowMs + DAY_MS)).toBe(true);
    expect(cluster.members.revoke(peer, nowMs, nowMs + DAY_MS)).toBe(false);
    expect(cluster.members.revoked(nowMs)).toEqual([peer]);
  });

  test('and was revoked stays known, as one that is connected does', async () => {
    await using cluster = await startCluster(Date.now());
    const [bad, here] = [cluster.enrol('bad'), cluster.enrol('here')];
    cluster.members.revoke(bad.peer, Date.now(), Date.now() + DAY_MS);
    cluster.connected.add(here.peer);
    expect(() => forget(bad.peer, cluster.modules)).toThrow(expect.objectContaining({ code: 'forbidden' }));
    expect(() => forget(here.peer, cluster.modules)).toThrow(expect.objectContaining({ code: 'busy' }));
    expect(forgetAway(0, cluster.modules, Date.now() + DAY_MS)).toEqual([]);
    expect(cluster.names()).toEqual(['bad', 'here']);
    expect(() => forget(cluster.authority.clusterKey, cluster.modules)).toThrow(
      expect.objectContaining({ code: 'not_found' }),
    );
  });

  test('is forgotten with others by how long nothing was heard of it', async () => {
    const nowMs = Date.now();
    await using cluster = await startCluster(nowMs);
    const [old, recent] = [cluster.enrol('old'), cluster.enrol('recent')];
    cluster.members.seen([recent.peer], nowMs + 2 * DAY_MS);
    const forgotten = forgetAway(2 * DAY_MS, cluster.modules, nowMs + 3 * DAY_MS);
    expect(forgotten.map(({ peer }) => peer)).toEqual([old.peer]);
    expect(cluster.names()).toEqual(['recent']);
  });
});

test('members of a supernode that did not note when it saw them were seen now', async () => {
  await using directory = await temporaryDirectory('members');
  const path = join(directory.path, 'members.sqlite');
  const sinceMs = Date.now();
  {
    using older = new DatabaseSync(path);
    older.exec(`CREATE TABLE members (peer TEXT PRIMARY KEY, name TEXT NOT NULL, enrolled_at_ms INTEGER NOT NULL,
      expires_at_ms INTEGER NOT NULL, revoked_at_ms INTEGER) STRICT, WITHOUT ROWID`);
    older.exec(`INSERT INTO members VALUES ('p', 'host', 1, 2, NULL)`);
  }
  await using state = new SqliteState(join(directory.path, 'state.sqlite'));
  await using writer = new WriteBehind(state);
  await importMembers(path, state, writer);
  const members = await Members.open(state, writer);
  expect(members.list()).toMatchObject([
    { name: 'host', enrolledAtMs: 1, expiresAtMs: 2, revokedAtMs: null },
  ]);
  expect(members.list()[0]?.seenAtMs).toBeGreaterThanOrEqual(sinceMs);
});

test('what was written of members is there when it is opened again', async () => {
  await using directory = await temporaryDirectory('members');
  const open = () => new SqliteState(join(directory.path, 'state.sqlite'));
  const peers = ['a', 'b', 'c'] as PeerId[];
  const nowMs = Date.now();
  {
    await using state = open();
    await using writer = new WriteBehind(state);
    const members = await Members.open(state, writer);
    for (const peer of peers)
      members.put({
        peer,
        name: `host ${peer}`,
        role: 'daemon',
        issuedAtMs: nowMs,
        expiresAtMs: nowMs + DAY_MS,
      });
    expect(members.revoke(peers[1] as PeerId, nowMs, nowMs + DAY_MS)).toBe(true);
    members.quarantine(peers[2] as PeerId, nowMs + DAY_MS);
    await members.succeed('first');
    // Another supernode adds the next one, which this one has not heard of yet.
    const other = await Members.open(state, writer);
    await other.succeed('second', { key: 'other' });
    await expect(members.succeed('too late', { key: 'mine' })).rejects.toMatchObject({ code: 'busy' });
    members.set('word', 'kept');
    members.forget(peers[0] as PeerId);
    await members.written();
  }
  await using state = open();
  await using writer = new WriteBehind(state);
  const members = await Members.open(state, writer);
  expect(members.list().map(({ peer }) => peer)).toEqual(['b', 'c']);
  expect(members.revoked(nowMs)).toEqual(['b']);
  expect([...members.quarantined(nowMs).keys()]).toEqual(['c']);
  expect(members.successions()).toEqual(['first', 'second']);
  expect([members.setting('word'), members.setting('key')]).toEqual(['kept', 'other']);
  expect(members.quarantined(nowMs + 2 * DAY_MS).size).toBe(0);
});
