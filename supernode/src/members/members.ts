import { DatabaseSync } from 'node:sqlite';
import type { Membership, PeerId } from '@drakkar/protocol';

/** A peer that has been enrolled. */
export interface Member {
  readonly peer: PeerId;
  readonly name: string;
  readonly enrolledAtMs: number;
  readonly expiresAtMs: number;
  readonly revokedAtMs: number | null;
  /** When it was last connected. */
  readonly seenAtMs: number;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS members (
    peer TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    enrolled_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL,
    revoked_at_ms INTEGER,
    seen_at_ms INTEGER NOT NULL DEFAULT 0
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS quarantine (
    peer TEXT PRIMARY KEY,
    until_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS successions (
    number INTEGER PRIMARY KEY,
    statement TEXT NOT NULL
  ) STRICT;
  CREATE TABLE IF NOT EXISTS settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
`;

interface MemberRow {
  peer: string;
  name: string;
  enrolled_at_ms: number;
  expires_at_ms: number;
  revoked_at_ms: number | null;
  seen_at_ms: number;
}

/** What a supernode must not forget, in `<state>/members.sqlite`. */
export class Members implements Disposable {
  readonly #database: DatabaseSync;

  constructor(path: string) {
    this.#database = new DatabaseSync(path);
    // Who was enrolled in the second before a power cut enrols once more.
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;');
    this.#database.exec(SCHEMA);
    const columns = this.#database.prepare('PRAGMA table_info(members)').all();
    if (columns.every(({ name }) => name !== 'seen_at_ms')) {
      this.#database.exec('ALTER TABLE members ADD COLUMN seen_at_ms INTEGER NOT NULL DEFAULT 0');
      this.#database.prepare('UPDATE members SET seen_at_ms = ?').run(Date.now());
    }
  }

  list(): Member[] {
    return (
      this.#database.prepare('SELECT * FROM members ORDER BY name, peer').all() as unknown as MemberRow[]
    ).map(memberOf);
  }

  find(peer: PeerId): Member | undefined {
    const row = this.#database.prepare('SELECT * FROM members WHERE peer = ?').get(peer);
    return row === undefined ? undefined : memberOf(row as unknown as MemberRow);
  }

  /** Enrols, or renews. Who was revoked stays so. */
  put({ peer, name, issuedAtMs, expiresAtMs }: Membership): void {
    this.#database
      .prepare(
        `INSERT INTO members VALUES (?, ?, ?, ?, NULL, ?)
         ON CONFLICT (peer) DO UPDATE SET name = excluded.name, expires_at_ms = excluded.expires_at_ms`,
      )
      .run(peer, name, issuedAtMs, expiresAtMs, issuedAtMs);
  }

  /** They are, or were until now, connected. */
  seen(peers: Iterable<PeerId>, nowMs: number): void {
    const update = this.#database.prepare('UPDATE members SET seen_at_ms = ? WHERE peer = ?');
    this.#database.exec('BEGIN');
    for (const peer of peers) update.run(nowMs, peer);
    this.#database.exec('COMMIT');
  }

  forget(peer: PeerId): void {
    this.#database.prepare('DELETE FROM members WHERE peer = ?').run(peer);
  }

  /**
   * On the disk when it returns. Who is not known may hold a membership that was forgotten here.
   * @param untilMs when the last membership ends that it may have been given
   * @returns whether it could have been a member until now
   */
  revoke(peer: PeerId, nowMs: number, untilMs: number): boolean {
    return this.#durably(() => {
      const { changes } = this.#database
        .prepare(
          `INSERT INTO members VALUES (?, '', ?, ?, ?, 0)
           ON CONFLICT (peer) DO UPDATE SET revoked_at_ms = excluded.revoked_at_ms WHERE revoked_at_ms IS NULL`,
        )
        .run(peer, nowMs, untilMs, nowMs);
      return changes > 0;
    });
  }

  /** Those whose memberships would be believed still, or were until a given time. */
  revoked(sinceMs: number): PeerId[] {
    return this.#database
      .prepare('SELECT peer FROM members WHERE revoked_at_ms IS NOT NULL AND expires_at_ms > ?')
      .all(sinceMs)
      .map(({ peer }) => peer as PeerId);
  }

  quarantine(peer: PeerId, untilMs: number): void {
    this.#database.prepare('INSERT OR REPLACE INTO quarantine VALUES (?, ?)').run(peer, untilMs);
  }

  quarantined(nowMs: number): Map<PeerId, number> {
    this.#database.prepare('DELETE FROM quarantine WHERE until_ms <= ?').run(nowMs);
    const rows = this.#database.prepare('SELECT peer, until_ms FROM quarantine').all();
    return new Map(rows.map(({ peer, until_ms }) => [peer as PeerId, Number(until_ms)]));
  }

  /** From the first key of the cluster to the one in use. */
  successions(): string[] {
    return this.#database
      .prepare('SELECT statement FROM successions ORDER BY number')
      .all()
      .map(({ statement }) => String(statement));
  }

  addSuccession(statement: string): void {
    this.#durably(() =>
      this.#database.prepare('INSERT INTO successions (statement) VALUES (?)').run(statement),
    );
  }

  setting(name: string): string | undefined {
    const row = this.#database.prepare('SELECT value FROM settings WHERE name = ?').get(name);
    return row === undefined ? undefined : String(row.value);
  }

  set(name: string, value: string): void {
    this.#durably(() =>
      this.#database.prepare('INSERT OR REPLACE INTO settings VALUES (?, ?)').run(name, value),
    );
  }

  #durably<Value>(change: () => Value): Value {
    this.#database.exec('PRAGMA synchronous = FULL');
    try {
      return change();
    } finally {
      this.#database.exec('PRAGMA synchronous = NORMAL');
    }
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }
}

function memberOf(row: MemberRow): Member {
  return {
    peer: row.peer as PeerId,
    name: row.name,
    enrolledAtMs: row.enrolled_at_ms,
    expiresAtMs: row.expires_at_ms,
    revokedAtMs: row.revoked_at_ms,
    seenAtMs: row.seen_at_ms,
  };
}
