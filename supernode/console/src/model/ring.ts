import type { TopologyNode } from './topology.ts';

/** A part of a circle, in radians, clockwise from its top. */
export interface Arc {
  readonly start: number;
  readonly end: number;
}

export interface Ring {
  /** One for each node. */
  readonly nodes: readonly Arc[];
  readonly zones: readonly (Arc & { readonly label: string })[];
  readonly racks: readonly (Arc & { readonly label: string })[];
}

const FULL = 2 * Math.PI;
/** Of the circle, all gaps together. */
const ZONE_GAPS = 0.06;
const RACK_GAPS = 0.12;
/** What no mark is smaller than, beside the average. */
const LEAST_WEIGHT = 0.35;

/** Puts nodes on a circle in their order, wide as their hosts are many, with gaps between racks and zones. */
export function ringOf(nodes: readonly TopologyNode[]): Ring {
  const zoneCount = new Set(nodes.map(({ zone }) => zone)).size;
  const rackCount = new Set(nodes.map(({ zone, rack }) => `${zone}\n${rack}`)).size;
  const zoneGap = zoneCount > 1 ? Math.min(0.08, (ZONE_GAPS * FULL) / zoneCount) : 0;
  const rackGap = rackCount > 1 ? Math.min(0.04, (RACK_GAPS * FULL) / rackCount) : 0;
  const average = nodes.reduce((sum, { hosts }) => sum + hosts, 0) / nodes.length;
  const weights = nodes.map(({ hosts }) => Math.max(hosts, LEAST_WEIGHT * average));
  const weight = weights.reduce((sum, one) => sum + one, 0);
  const gaps = rackCount * rackGap + zoneCount * zoneGap;
  const unit = weight === 0 ? 0 : (FULL - gaps) / weight;

  const arcs: Arc[] = [];
  const zones: { start: number; end: number; label: string }[] = [];
  const racks: { start: number; end: number; label: string; zone: string }[] = [];
  let at = 0;
  for (const [index, { zone, rack }] of nodes.entries()) {
    const isNewZone = zones.at(-1)?.label !== zone;
    if (index > 0 && isNewZone) at += zoneGap;
    const isNewRack = isNewZone || racks.at(-1)?.label !== rack;
    if (index > 0 && isNewRack) at += rackGap;
    const end = at + (weights[index] ?? 0) * unit;
    if (isNewZone) zones.push({ start: at, end, label: zone });
    if (isNewRack) racks.push({ start: at, end, label: rack, zone });
    const lastZone = zones.at(-1);
    const lastRack = racks.at(-1);
    if (lastZone !== undefined) lastZone.end = end;
    if (lastRack !== undefined) lastRack.end = end;
    arcs.push({ start: at, end });
    at = end;
  }
  return { nodes: arcs, zones, racks };
}

/** The arc at an angle; −1 where there is none. */
export function arcAt(arcs: readonly Arc[], angle: number): number {
  const at = ((angle % FULL) + FULL) % FULL;
  let low = 0;
  let high = arcs.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((arcs[middle]?.end ?? 0) < at) low = middle + 1;
    else high = middle;
  }
  const arc = arcs[low];
  return arc !== undefined && at >= arc.start && at <= arc.end ? low : -1;
}
