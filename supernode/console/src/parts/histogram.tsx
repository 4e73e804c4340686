import type { Starts } from '../documents.ts';
import { count, duration, percentage } from '../format.ts';
import { barsOf, placeOf } from '../model/histogram.ts';
import { useWidth } from './width.ts';

const HEIGHT = 176;
const TOP = 40;
const BOTTOM = 24;

/** How long starts took, with the times that half, nine tenths and nearly all of them were below. */
export function StartsHistogram({ starts }: { readonly starts: Starts }) {
  const { ref, width } = useWidth<HTMLElement>(560);
  const bars = barsOf(starts.buckets);
  const step = width / Math.max(1, bars.length);
  const highest = Math.max(1, ...bars.map((bar) => bar.count));
  const base = HEIGHT - BOTTOM;
  const every = Math.max(1, Math.ceil(52 / step));
  const quantiles = [
    { name: 'p50', ms: starts.p50Ms },
    { name: 'p90', ms: starts.p90Ms },
    { name: 'p99', ms: starts.p99Ms },
  ].flatMap(({ name, ms }) => (ms === null ? [] : [{ name, ms, x: placeOf(ms, starts.buckets) * step }]));
  const words = quantiles.map(({ name, ms }) => `${name} ${duration(ms)}`).join(', ');
  return (
    <figure class="chart" ref={ref}>
      <svg
        width={width}
        height={HEIGHT}
        role="img"
        aria-label={`Distribution of ${count(starts.count)} start times: ${words}.`}
      >
        <line class="axis" x1={0} x2={width} y1={base + 0.5} y2={base + 0.5} />
        {bars.map((bar, index) => {
          const height = bar.count === 0 ? 0 : Math.max(2, (bar.count / highest) * (base - TOP));
          return (
            <rect
              key={bar.to}
              class="histogram-bar"
              x={index * step + 1}
              width={Math.max(1, step - 2)}
              y={base - height}
              height={height}
            >
              <title>{`${bar.from} to ${bar.to}: ${count(bar.count)} (${percentage(bar.share)})`}</title>
            </rect>
          );
        })}
        {bars.map(
          (bar, index) =>
            index % every === every - 1 &&
            bar.to !== '∞' && (
              <text key={bar.to} class="tick" x={(index + 1) * step} y={HEIGHT - 8} text-anchor="middle">
                {bar.to}
              </text>
            ),
        )}
        {quantiles.map(({ name, ms, x }, index) => {
          const isRight = x > width - 120;
          const y = 10 + index * 13;
          return (
            <g key={name}>
              <line class="quantile" x1={x} x2={x} y1={y - 8} y2={base} />
              <text
                class="quantile-name"
                x={isRight ? x - 4 : x + 4}
                y={y}
                text-anchor={isRight ? 'end' : 'start'}
              >
                {name} <tspan class="strong">{duration(ms)}</tspan>
              </text>
            </g>
          );
        })}
      </svg>
      <details class="as-table">
        <summary>As a table</summary>
        <table>
          <caption class="hidden">Start times</caption>
          <thead>
            <tr>
              <th scope="col">From</th>
              <th scope="col">To</th>
              <th scope="col" class="number">
                Starts
              </th>
              <th scope="col" class="number">
                Share
              </th>
            </tr>
          </thead>
          <tbody>
            {bars.map((bar) => (
              <tr key={bar.to}>
                <td>{bar.from}</td>
                <td>{bar.to}</td>
                <td class="number">{count(bar.count)}</td>
                <td class="number">{percentage(bar.share)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </details>
    </figure>
  );
}
