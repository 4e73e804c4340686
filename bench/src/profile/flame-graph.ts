import type { Stacks } from './stacks.ts';

const WIDTH = 1200;
const ROW = 17;
const TOP = 46;
const BOTTOM = 10;
const CHARACTER = 6.6;
/** Narrower ones nobody sees. */
const LEAST_WIDTH = 0.4;

interface Frame {
  readonly name: string;
  us: number;
  readonly calls: Map<string, Frame>;
}

/** Stacks as a flame graph: what calls below what it calls, as wide as the time that it took. An SVG document; the same stacks give the same. Pure. */
export function drawFlameGraph(title: string, stacks: Stacks): string {
  const root = treeOf(stacks);
  const scale = WIDTH / Math.max(root.us, 1);
  const depth = depthOf(root, scale);
  const height = TOP + depth * ROW + BOTTOM;
  const boxes: string[] = [];
  const draw = (frame: Frame, x: number, level: number): void => {
    const width = frame.us * scale;
    if (width < LEAST_WIDTH) return;
    if (level >= 0) boxes.push(boxOf(frame, root.us, x, height - BOTTOM - (level + 1) * ROW, width));
    let at = x;
    for (const call of sorted(frame)) {
      draw(call, at, level + 1);
      at += call.us * scale;
    }
  };
  draw(root, 0, -1);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="monospace" font-size="11">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="${WIDTH / 2}" y="20" text-anchor="middle" font-family="sans-serif" font-size="15">${escaped(title)}</text>`,
    `<text x="${WIDTH / 2}" y="37" text-anchor="middle" font-family="sans-serif" fill="#555">${(root.us / 1e6).toFixed(2)} s. Orange is ours, green a package, blue Node, violet native; hover over a frame to read it.</text>`,
    ...boxes,
    '</svg>\n',
  ].join('\n');
}

function treeOf(stacks: Stacks): Frame {
  const root: Frame = { name: '', us: 0, calls: new Map() };
  for (const [stack, us] of stacks) {
    let at = root;
    at.us += us;
    for (const name of stack.split(';')) {
      const next = at.calls.get(name) ?? { name, us: 0, calls: new Map() };
      at.calls.set(name, next);
      next.us += us;
      at = next;
    }
  }
  return root;
}

/** By name, so that two graphs of one path are alike. */
const sorted = ({ calls }: Frame): Frame[] =>
  [...calls.values()].sort((one, other) => (one.name < other.name ? -1 : 1));

function depthOf({ calls }: Frame, scale: number): number {
  const seen = [...calls.values()].filter(({ us }) => us * scale >= LEAST_WIDTH);
  return seen.reduce((most, call) => Math.max(most, 1 + depthOf(call, scale)), 0);
}

function boxOf({ name, us }: Frame, totalUs: number, x: number, y: number, width: number): string {
  const characters = Math.floor((width - 4) / CHARACTER);
  const shown = name.length <= characters ? name : `${name.slice(0, Math.max(0, characters - 1))}…`;
  const share = `${((100 * us) / totalUs).toFixed(1)} %, ${(us / 1000).toFixed(0)} ms`;
  const text = characters < 3 ? '' : `<text x="${(x + 2).toFixed(1)}" y="${y + 12}">${escaped(shown)}</text>`;
  return `<g><title>${escaped(name)}: ${share}</title><rect x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${ROW - 1}" fill="${colorOf(name)}"/>${text}</g>`;
}

function colorOf(name: string): string {
  const [, place = ''] = name.split(/ (?=\S+$)/);
  if (place.startsWith('node:')) return '#a9c5e8';
  if (/\.[cm]?[jt]sx?:[0-9]+$/.test(place)) return OURS.test(place) ? '#f3a55a' : '#b4d8a0';
  return '#cbb6e0';
}

const OURS =
  /^(?:bench|cli|client|containerd|daemon|errors|kubernetes|protocol|service|snapshotter|supernode|wire)\/src\//;

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
