import type { Arc, Ring } from '../model/ring.ts';
import type { TopologyView } from '../model/topology.ts';

/** Colours of the page, as the canvas takes them. */
export interface Palette {
  readonly ink: string;
  readonly quiet: string;
  readonly line: string;
  readonly accent: string;
  readonly font: string;
}

export interface Drawing {
  readonly view: TopologyView;
  readonly ring: Ring;
  readonly size: number;
  /** The node that is looked at; −1 for none. */
  readonly chosen: number;
}

/** The weakest feeds beyond this are not drawn. */
const MOST_EDGES = 1_500;
const BAR = 28;
const ZONE_GAP = 12;

/** Of the circle on which nodes stand. */
export const radiusOf = (size: number): number => size / 2 - BAR - ZONE_GAP - (size < 480 ? 32 : 48);

/** Draws who feeds whom: nodes on a circle, with what they give as bars around it, and feeds across it. */
export function drawTopology(context: CanvasRenderingContext2D, drawing: Drawing, palette: Palette): void {
  const { size } = drawing;
  context.clearRect(0, 0, size, size);
  context.save();
  context.translate(size / 2, size / 2);
  drawFeeds(context, drawing, palette);
  drawNodes(context, drawing, palette);
  drawZones(context, drawing, palette);
  context.restore();
}

function drawFeeds(
  context: CanvasRenderingContext2D,
  { view, ring, size, chosen }: Drawing,
  palette: Palette,
): void {
  const radius = radiusOf(size) - 3;
  const most = view.edges[0]?.bytesPerSecond ?? 1;
  const edges = view.edges.slice(0, MOST_EDGES);
  const crowd = Math.max(0.4, Math.min(1, 12 / Math.sqrt(edges.length + 1)));
  // The strongest come last, on top.
  for (const { from, to, bytesPerSecond } of edges.toReversed()) {
    const source = ring.nodes[from];
    const target = ring.nodes[to];
    if (source === undefined || target === undefined) continue;
    const strength = Math.sqrt(bytesPerSecond / most);
    const isFar = view.nodes[from]?.zone !== view.nodes[to]?.zone;
    const isChosen = chosen === from || chosen === to;
    context.fillStyle = isFar ? palette.accent : palette.quiet;
    context.globalAlpha = chosen >= 0 ? (isChosen ? 0.85 : 0.04) : (0.35 + 0.6 * strength) * crowd;
    ribbon(
      context,
      middle(source),
      middle(target),
      radius,
      Math.min(1.5 + 4 * strength, 1 + widthOf(source, radius)),
    );
  }
  context.globalAlpha = 1;
}

/** From its thick end, which gives, to its thin end, which gets. */
function ribbon(
  context: CanvasRenderingContext2D,
  from: number,
  to: number,
  radius: number,
  thick: number,
): void {
  const turn = Math.abs(Math.atan2(Math.sin(to - from), Math.cos(to - from)));
  // Neighbours curve near the edge, so that the middle stays for those far apart.
  const pull = radius * (1 - 0.85 * Math.min(1, 0.25 + turn / Math.PI));
  const half = thick / 2 / radius;
  const [startX, startY] = at(from - half, radius);
  const [otherX, otherY] = at(from + half, radius);
  const [endX, endY] = at(to, radius);
  const [thinX, thinY] = at(to + 1.2 / radius, radius);
  // It grows thinner evenly: a third of the way it has two thirds of its width.
  const near = Math.min(0.5, thick / 3 / pull);
  const late = Math.min(0.5, thick / 6 / pull);
  const [leftX, leftY] = at(from - near, pull);
  const [rightX, rightY] = at(from + near, pull);
  const [lateLeftX, lateLeftY] = at(to + late, pull);
  const [lateRightX, lateRightY] = at(to - late, pull);
  context.beginPath();
  context.moveTo(startX, startY);
  context.bezierCurveTo(leftX, leftY, lateLeftX, lateLeftY, thinX, thinY);
  context.lineTo(endX, endY);
  context.bezierCurveTo(lateRightX, lateRightY, rightX, rightY, otherX, otherY);
  context.fill();
}

function drawNodes(
  context: CanvasRenderingContext2D,
  { view, ring, size, chosen }: Drawing,
  palette: Palette,
): void {
  const radius = radiusOf(size);
  const most = view.nodes.reduce((high, node) => Math.max(high, node.sentBytesPerSecond), 1);
  for (const [index, node] of view.nodes.entries()) {
    const arc = ring.nodes[index];
    if (arc === undefined) continue;
    const width = Math.max(1.5, widthOf(arc, radius) - 1);
    const isSeed = node.seeds > 0 && view.level === 'host';
    context.globalAlpha = chosen >= 0 && chosen !== index ? 0.5 : 1;
    band(
      context,
      arc,
      radius,
      radius + 5,
      width,
      chosen === index ? palette.ink : isSeed ? palette.accent : palette.line,
    );
    const share = Math.sqrt(node.sentBytesPerSecond / most);
    if (share > 0.02) band(context, arc, radius + 7, radius + 7 + share * BAR, width, palette.accent);
  }
  context.globalAlpha = 1;
}

function drawZones(context: CanvasRenderingContext2D, { ring, size, view }: Drawing, palette: Palette): void {
  const radius = radiusOf(size) + BAR + ZONE_GAP + 2;
  context.strokeStyle = palette.quiet;
  context.fillStyle = palette.ink;
  context.lineWidth = 1;
  context.font = palette.font;
  context.textBaseline = 'middle';
  for (const { start, end, label } of ring.zones) {
    context.beginPath();
    context.arc(0, 0, radius, start - Math.PI / 2, end - Math.PI / 2);
    context.stroke();
    if (label === '' && view.zones.length < 2) continue;
    const angle = (start + end) / 2;
    const [x, y] = at(angle, radius + 8);
    context.textAlign = Math.abs(x) < radius * 0.3 ? 'center' : x < 0 ? 'right' : 'left';
    const room = size / 2 - Math.abs(x);
    const text = label === '' ? 'no zone' : label;
    context.fillText(
      text,
      x,
      y + (Math.abs(x) < radius * 0.3 ? Math.sign(y) * 4 : 0),
      context.textAlign === 'center' ? size : room,
    );
  }
}

function band(
  context: CanvasRenderingContext2D,
  arc: Arc,
  inner: number,
  outer: number,
  width: number,
  colour: string,
) {
  const half = width / 2 / inner;
  const centre = middle(arc) - Math.PI / 2;
  context.fillStyle = colour;
  context.beginPath();
  context.arc(0, 0, outer, centre - half, centre + half);
  context.arc(0, 0, inner, centre + half, centre - half, true);
  context.fill();
}

const middle = ({ start, end }: Arc): number => (start + end) / 2;
const widthOf = ({ start, end }: Arc, radius: number): number => (end - start) * radius;
/** Angles begin at the top. */
const at = (angle: number, radius: number): [number, number] => [
  Math.sin(angle) * radius,
  -Math.cos(angle) * radius,
];
