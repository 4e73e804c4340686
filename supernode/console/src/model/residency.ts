import type { SnapshotPart } from '../documents.ts';

/** How much of each part of a snapshot one host has. */
export interface ResidencyRow {
  readonly peer: string;
  readonly name: string;
  /** 0 to 1, in the order of the parts. */
  readonly parts: readonly number[];
  /** Of all bytes: 0 to 1. */
  readonly total: number;
}

/** Hosts that have any of it, those with most of it first. */
export function residencyRows(parts: readonly SnapshotPart[]): ResidencyRow[] {
  const sizeBytes = parts.reduce((sum, part) => sum + part.sizeBytes, 0);
  const rows = new Map<string, { peer: string; name: string; parts: number[]; haveBytes: number }>();
  for (const [index, part] of parts.entries())
    for (const { peer, name, residency } of part.hosts) {
      const row = rows.get(peer) ?? { peer, name, parts: parts.map(() => 0), haveBytes: 0 };
      row.parts[index] = residency;
      row.haveBytes += residency * part.sizeBytes;
      rows.set(peer, row);
    }
  return [...rows.values()]
    .map(({ haveBytes, ...row }) => ({ ...row, total: sizeBytes === 0 ? 0 : haveBytes / sizeBytes }))
    .sort((one, other) => other.total - one.total || one.name.localeCompare(other.name));
}

export const partName = ({ kind, slot }: Pick<SnapshotPart, 'kind' | 'slot'>): string =>
  kind === 'meta' ? 'meta' : `device ${slot}`;
