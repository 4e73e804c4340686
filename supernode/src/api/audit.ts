import { z } from 'zod';
import { newId } from '../ids.ts';
import {
  Collection,
  type Page,
  type PageOptions,
  type StateStore,
  type WriteBehind,
} from '../state/index.ts';

const MAX_UNWRITTEN = 100_000;
const KEPT_MS = 90 * 24 * 60 * 60_000;

export const auditEntrySchema = z
  .object({
    id: z.string(),
    atMs: z.number(),
    by: z.string().describe('The name of the token.'),
    token: z.string().nullable(),
    action: z.string().describe('Method and path, as the API has it.'),
    target: z
      .string()
      .describe('The id of what it was done to, or of what was made; empty where that is the whole cluster.'),
    status: z.int().describe('Of the answer.'),
  })
  .meta({ id: 'AuditEntry' });
export type AuditEntry = z.output<typeof auditEntrySchema>;

/** Who has changed what, and who tried to: kept for ninety days. */
export class Audit {
  readonly #entries: Collection<AuditEntry>;
  readonly #writer: WriteBehind;

  constructor(state: StateStore, writer: WriteBehind) {
    this.#entries = new Collection(state, 'audit', auditEntrySchema);
    this.#writer = writer;
  }

  /** While nothing can be written, no more than so many are kept to be. */
  add(entry: Omit<AuditEntry, 'id'>): void {
    if (this.#writer.size >= MAX_UNWRITTEN) return;
    const id = newId(entry.atMs);
    this.#writer.put(this.#entries.change(id, { id, ...entry }, { ttlMs: KEPT_MS }));
  }

  /** The newest first. */
  async page(options: Omit<PageOptions, 'reverse'>): Promise<Page<AuditEntry>> {
    await this.#writer.flush();
    return await this.#entries.page({ ...options, reverse: true });
  }
}
