import { existsSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import type { PeerId } from '@drakkar/protocol';
import type { StateStore, WriteBehind } from '../state/index.ts';
import { Members } from './members.ts';

/**
 * Takes over what a supernode before 0.2 has kept in a database of its own. The file is put aside when everything in it is written elsewhere: where that was cut short it
 * is done again.
 */
export async function importMembers(path: string, state: StateStore, writer: WriteBehind): Promise<void> {
  if (!existsSync(path)) return;
  const members = await Members.open(state, writer);
  {
    using database = new DatabaseSync(path);
    const rows = (sql: string) => database.prepare(sql).all() as Record<string, string | number | null>[];
    const hasSeen = rows('PRAGMA table_info(members)').some(({ name }) => name === 'seen_at_ms');
    for (const row of rows('SELECT * FROM members')) {
      members.restore({
        peer: row.peer as PeerId,
        name: String(row.name),
        enrolledAtMs: Number(row.enrolled_at_ms),
        expiresAtMs: Number(row.expires_at_ms),
        revokedAtMs: row.revoked_at_ms === null ? null : Number(row.revoked_at_ms),
        seenAtMs: hasSeen ? Number(row.seen_at_ms) : Date.now(),
      });
    }
    const has = (table: string) =>
      rows(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name = '${table}'`).length > 0;
    if (has('quarantine'))
      for (const { peer, until_ms } of rows('SELECT * FROM quarantine'))
        members.quarantine(peer as PeerId, Number(until_ms));
    if (has('successions')) {
      const successions = rows('SELECT statement FROM successions ORDER BY number');
      for (const { statement } of successions.slice(members.successions().length))
        await members.succeed(String(statement));
    }
    if (has('settings'))
      for (const { name, value } of rows('SELECT * FROM settings')) members.set(String(name), String(value));
  }
  await members.written();
  await rename(path, `${path}.imported`);
}
