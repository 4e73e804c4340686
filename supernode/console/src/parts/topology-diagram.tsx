import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { rate, several } from '../format.ts';
import { arcAt, ringOf } from '../model/ring.ts';
import type { TopologyView } from '../model/topology.ts';
import { drawTopology, type Palette, radiusOf } from './draw-topology.ts';
import { useWidth } from './width.ts';

const MOST_SIZE = 720;

interface DiagramProps {
  readonly view: TopologyView;
  /** The node that is looked at; −1 for none. */
  readonly chosen: number;
  readonly onPoint: (node: number) => void;
  readonly onChoose: (node: number) => void;
}

/** Who feeds whom, as a circle. The table has the same for those who do not see it. */
export function TopologyDiagram({ view, chosen, onPoint, onChoose }: DiagramProps) {
  const { ref, width } = useWidth<HTMLDivElement>(640);
  const canvas = useRef<HTMLCanvasElement>(null);
  const ring = useMemo(() => ringOf(view.nodes), [view]);
  const scheme = useScheme();
  const size = Math.min(width, MOST_SIZE);

  useEffect(() => {
    const frame = requestAnimationFrame(() => {
      const element = canvas.current;
      const context = element?.getContext('2d');
      if (element === null || context === null || context === undefined) return;
      const scale = Math.min(2, devicePixelRatio);
      element.width = size * scale;
      element.height = size * scale;
      context.setTransform(scale, 0, 0, scale, 0, 0);
      drawTopology(context, { view, ring, size, chosen }, paletteOf(element));
    });
    return () => cancelAnimationFrame(frame);
  }, [view, ring, size, chosen, scheme]);

  const nodeAt = (event: MouseEvent & { currentTarget: HTMLCanvasElement }): number => {
    const box = event.currentTarget.getBoundingClientRect();
    const x = event.clientX - box.left - box.width / 2;
    const y = event.clientY - box.top - box.height / 2;
    const radius = radiusOf(size);
    return Math.hypot(x, y) < radius * 0.8 ? -1 : arcAt(ring.nodes, Math.atan2(x, -y));
  };
  const moved = view.nodes.reduce((sum, node) => sum + node.sentBytesPerSecond, 0);
  return (
    <div class="diagram" ref={ref}>
      <canvas
        ref={canvas}
        style={{ width: `${size}px`, height: `${size}px` }}
        role="img"
        aria-label={`${several(view.hosts, 'host')} as ${several(view.nodes.length, view.level)}, ${several(view.edges.length, 'feed')}, ${rate(moved)}. The table has the same in words.`}
        onPointerMove={(event) => onPoint(nodeAt(event))}
        onPointerLeave={() => onPoint(-1)}
        onClick={(event) => onChoose(nodeAt(event))}
      />
    </div>
  );
}

function paletteOf(element: HTMLElement): Palette {
  const style = getComputedStyle(element);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  return {
    ink: colour('--ink'),
    quiet: colour('--ink-quiet'),
    line: colour('--line-strong'),
    accent: colour('--accent'),
    font: `12px ${style.fontFamily}`,
  };
}

/** Changes with the scheme of colours. */
function useScheme(): boolean {
  const [isDark, setDark] = useState(() => matchMedia('(prefers-color-scheme: dark)').matches);
  useEffect(() => {
    const query = matchMedia('(prefers-color-scheme: dark)');
    const look = () => setDark(query.matches);
    query.addEventListener('change', look);
    return () => query.removeEventListener('change', look);
  }, []);
  return isDark;
}
