import { DatabaseSync } from 'node:sqlite';
import {
  type Digest,
  decodeTrace,
  encodeTrace,
  MAX_TRACES,
  mergeTraces,
  type Trace,
} from '@drakkar/protocol';

/** A way to start a snapshot. */
export interface Start {
  /** Raw digest of the snapshot's meta, which says what lies where on which device. */
  readonly layout: Digest;
  readonly startKey: Digest;
}

/** How well a start was foreseen, in blocks of the snapshot. */
export interface TraceFigures {
  readonly touchedBlocks: number;
  readonly prefetchedBlocks: number;
  /** Touched ones that were here before anybody waited for them. */
  readonly hits: number;
}

/** One start that was traced. */
export interface TracedStart extends TraceFigures {
  readonly startKey: Digest;
  readonly atMs: number;
}

/** What one start has read, as it was reported. */
export interface ReportedTrace {
  readonly reporter: string;
  readonly atMs: number;
  /** Encoded. */
  readonly ranges: Uint8Array;
}

export interface TracesOptions {
  /** Of all traces and lists; those of the start that was traced longest ago go first. */
  readonly maxBytes: number;
}

/** Ways to start one snapshot; the one that was traced longest ago goes first. */
const MAX_STARTS = 16;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS traces (
    layout TEXT NOT NULL,
    start_key TEXT NOT NULL,
    reporter TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    figures TEXT,
    ranges BLOB NOT NULL,
    UNIQUE (layout, start_key, reporter)
  ) STRICT;
  CREATE TABLE IF NOT EXISTS learned (
    layout TEXT NOT NULL,
    start_key TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    ranges BLOB NOT NULL,
    UNIQUE (layout, start_key)
  ) STRICT;
  CREATE INDEX IF NOT EXISTS by_time ON learned (at_ms, size_bytes);
`;

/** What starts of snapshots have read, and what that makes of what further ones will: in one SQLite file. */
export class Traces implements Disposable {
  readonly #database: DatabaseSync;
  readonly #options: TracesOptions;
  /** Called with each start of which more, or nothing any more, is known. */
  onChange: ((start: Start) => void) | undefined;

  constructor(path: string, options: TracesOptions) {
    this.#options = options;
    this.#database = new DatabaseSync(path);
    this.#database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;');
    this.#database.exec(SCHEMA);
  }

  /**
   * One start has been traced.
   * @param reporter only the last trace of each is kept, so that nobody outvotes the others
   */
  report(start: Start, reporter: string, trace: Trace, nowMs: number, figures?: TraceFigures): void {
    this.#keep(start, [{ reporter, atMs: nowMs, ranges: encodeTrace(trace) }], figures);
    this.onChange?.(start);
  }

  /** What has been reported of a start; empty where nothing is known. */
  reports({ layout, startKey }: Start): ReportedTrace[] {
    const rows = this.#database
      .prepare('SELECT reporter, at_ms, ranges FROM traces WHERE layout = ? AND start_key = ? ORDER BY at_ms')
      .all(layout, startKey);
    return rows.map(({ reporter, at_ms, ranges }) => ({
      reporter: String(reporter),
      atMs: Number(at_ms),
      ranges: ranges as Uint8Array,
    }));
  }

  /** What was reported elsewhere: nobody is told of it again. @throws `invalid_content` */
  take(start: Start, reports: readonly ReportedTrace[]): void {
    for (const { ranges } of reports) decodeTrace(ranges);
    if (reports.length > 0) this.#keep(start, reports);
  }

  /** All starts of which something is known. */
  all(): Start[] {
    const rows = this.#database.prepare('SELECT layout, start_key FROM learned').all();
    return rows.map(({ layout, start_key }) => ({ layout: layout as Digest, startKey: start_key as Digest }));
  }

  #keep(start: Start, reports: readonly ReportedTrace[], figures?: TraceFigures): void {
    const { layout, startKey } = start;
    const nowMs = Math.max(...reports.map(({ atMs }) => atMs));
    this.#atomically(() => {
      const put = this.#database.prepare('INSERT OR REPLACE INTO traces VALUES (?, ?, ?, ?, ?, ?)');
      for (const { reporter, atMs, ranges } of reports)
        put.run(layout, startKey, reporter, atMs, figures ? JSON.stringify(figures) : null, ranges);
      this.#database
        .prepare(
          `DELETE FROM traces WHERE layout = ?1 AND start_key = ?2 AND rowid NOT IN
           (SELECT rowid FROM traces WHERE layout = ?1 AND start_key = ?2 ORDER BY at_ms DESC, rowid DESC LIMIT ?3)`,
        )
        .run(layout, startKey, MAX_TRACES);
      this.#learn(start, nowMs);
      this.#makeRoom(layout);
    });
  }

  /**
   * What starts read, encoded as a trace is; empty where nothing is known. Where this start is not known, what is common to
   * the others of the snapshot.
   */
  learned({ layout, startKey }: Start): Uint8Array {
    const lists = this.#database
      .prepare('SELECT start_key, ranges FROM learned WHERE layout = ?')
      .all(layout);
    const own = lists.find(({ start_key }) => start_key === startKey);
    if (own !== undefined) return own.ranges as Uint8Array;
    return encodeTrace(mergeTraces(lists.map(({ ranges }) => decodeTrace(ranges as Uint8Array))));
  }

  /** The starts of a snapshot of which it is known how well they were foreseen, the last one first. */
  starts(layout: Digest): TracedStart[] {
    const rows = this.#database
      .prepare(
        'SELECT start_key, at_ms, figures FROM traces WHERE layout = ? AND figures IS NOT NULL ORDER BY at_ms DESC, rowid DESC',
      )
      .all(layout);
    return rows.map(({ start_key, at_ms, figures }) => ({
      ...(JSON.parse(String(figures)) as TraceFigures),
      startKey: start_key as Digest,
      atMs: Number(at_ms),
    }));
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  #learn({ layout, startKey }: Start, nowMs: number): void {
    const encoded = this.#database
      .prepare('SELECT ranges FROM traces WHERE layout = ? AND start_key = ?')
      .all(layout, startKey)
      .map(({ ranges }) => ranges as Uint8Array);
    const learned = encodeTrace(mergeTraces(encoded.map(decodeTrace)));
    const sizeBytes = encoded.reduce((sum, { length }) => sum + length, learned.length);
    this.#database
      .prepare('INSERT OR REPLACE INTO learned VALUES (?, ?, ?, ?, ?)')
      .run(layout, startKey, nowMs, sizeBytes, learned);
  }

  #makeRoom(layout: Digest): void {
    const { starts } = this.#one('SELECT count(*) AS starts FROM learned WHERE layout = ?', layout);
    if (Number(starts) > MAX_STARTS) this.#forgetOldest('WHERE layout = ?', layout);
    while (
      Number(this.#one('SELECT sum(size_bytes) AS bytes FROM learned').bytes ?? 0) > this.#options.maxBytes
    )
      this.#forgetOldest('');
  }

  #forgetOldest(where: string, ...of: readonly string[]): void {
    const { layout, start_key } = this.#one(
      `SELECT layout, start_key FROM learned ${where} ORDER BY at_ms, rowid LIMIT 1`,
      ...of,
    );
    for (const table of ['traces', 'learned']) {
      this.#database
        .prepare(`DELETE FROM ${table} WHERE layout = ? AND start_key = ?`)
        .run(String(layout), String(start_key));
    }
    this.onChange?.({ layout: layout as Digest, startKey: start_key as Digest });
  }

  #one(query: string, ...values: readonly string[]): Record<string, unknown> {
    return this.#database.prepare(query).get(...values) ?? {};
  }

  #atomically(change: () => void): void {
    this.#database.exec('BEGIN');
    try {
      change();
      this.#database.exec('COMMIT');
    } catch (error) {
      this.#database.exec('ROLLBACK');
      throw error;
    }
  }
}
