import type { TrafficPoint } from '../documents.ts';
import { clock, rate } from '../format.ts';
import { areaPath, linePath, niceCeiling } from '../model/chart.ts';
import { useWidth } from './width.ts';

const HEIGHT = 176;
const TOP = 8;
const BOTTOM = 24;
const SPAN_MS = 10 * 60_000;
const MINUTES = [10, 8, 6, 4, 2] as const;

/** What came from peers and from origins, in the last ten minutes. */
export function RatesChart({ history }: { readonly history: readonly TrafficPoint[] }) {
  const { ref, width } = useWidth<HTMLElement>(560);
  const base = HEIGHT - BOTTOM;
  const endMs = history.at(-1)?.atMs ?? Date.now();
  const highest = niceCeiling(
    Math.max(
      1000,
      ...history.map((point) => Math.max(point.peerBytesPerSecond, point.upstreamBytesPerSecond)),
    ),
  );
  const x = (atMs: number) => width * (1 - (endMs - atMs) / SPAN_MS);
  const y = (value: number) => base - (value / highest) * (base - TOP);
  const shown = history.filter(({ atMs }) => atMs >= endMs - SPAN_MS);
  const peers = shown.map((point) => ({ x: x(point.atMs), y: y(point.peerBytesPerSecond) }));
  const origins = shown.map((point) => ({ x: x(point.atMs), y: y(point.upstreamBytesPerSecond) }));
  const last = shown.at(-1);
  const words =
    last === undefined
      ? 'Nothing has moved yet.'
      : `At ${clock(last.atMs, last.atMs)}: ${rate(last.peerBytesPerSecond)} from peers, ${rate(last.upstreamBytesPerSecond)} from origins.`;
  return (
    <figure class="chart" ref={ref}>
      <svg width={width} height={HEIGHT} role="img" aria-label={`Rates of the last ten minutes. ${words}`}>
        {[1, 0.5].map((part) => (
          <line
            key={part}
            class="grid"
            x1={0}
            x2={width}
            y1={y(highest * part) + 0.5}
            y2={y(highest * part) + 0.5}
          />
        ))}
        <line class="axis" x1={0} x2={width} y1={base + 0.5} y2={base + 0.5} />
        <path class="area-peers" d={areaPath(peers, base)} />
        <path class="line-peers" d={linePath(peers)} />
        <path class="line-origins" d={linePath(origins)} />
        {[1, 0.5].map((part) => (
          <text key={part} class="tick" x={0} y={y(highest * part) + 12}>
            {rate(highest * part)}
          </text>
        ))}
        {MINUTES.filter((minutes) => minutes !== 8 || width > 400).map((minutes) => (
          <text
            key={minutes}
            class="tick"
            x={width * (1 - minutes / 10)}
            y={HEIGHT - 8}
            text-anchor={minutes === 10 ? 'start' : 'middle'}
          >
            −{minutes} min
          </text>
        ))}
        <text class="tick" x={width} y={HEIGHT - 8} text-anchor="end">
          now
        </text>
      </svg>
      <figcaption class="legend">
        <span>
          <svg width="20" height="8" aria-hidden="true">
            <line class="line-peers" x1="0" x2="20" y1="4" y2="4" />
          </svg>
          from peers <b>{rate(last?.peerBytesPerSecond ?? 0)}</b>
        </span>
        <span>
          <svg width="20" height="8" aria-hidden="true">
            <line class="line-origins" x1="0" x2="20" y1="4" y2="4" />
          </svg>
          from origins <b>{rate(last?.upstreamBytesPerSecond ?? 0)}</b>
        </span>
      </figcaption>
    </figure>
  );
}
