import { median, type Series } from '../runner/samples.ts';

const WIDTH = 720;
const NAME_WIDTH = 200;
const FIGURE_WIDTH = 90;
const ROW = 34;
const TOP = 44;

/** Wall times as horizontal bars: the median, with every sample as a tick upon it. An SVG document; pure. */
export function drawBars(title: string, series: readonly Series[]): string {
  const most = Math.max(...series.flatMap(({ samples }) => samples.map(({ wallMs }) => wallMs)), 1);
  const x = (ms: number) => NAME_WIDTH + (ms / most) * (WIDTH - NAME_WIDTH - FIGURE_WIDTH);
  const rows = series.map(({ name, samples }, index) => {
    const y = TOP + index * ROW;
    const walls = samples.map(({ wallMs }) => wallMs);
    const end = x(median(walls));
    const ticks = walls
      .map(
        (ms) =>
          `<line x1="${x(ms).toFixed(1)}" x2="${x(ms).toFixed(1)}" y1="${y + 2}" y2="${y + 20}" stroke="#222" stroke-opacity=".5"/>`,
      )
      .join('');
    return [
      `<text x="${NAME_WIDTH - 10}" y="${y + 15}" text-anchor="end">${escapeText(name)}</text>`,
      `<rect x="${NAME_WIDTH}" y="${y}" width="${(end - NAME_WIDTH).toFixed(1)}" height="22" fill="${name.startsWith('drakkar') ? '#2a6f97' : '#b8b8b8'}"/>`,
      ticks,
      `<text x="${(x(Math.max(...walls, 0)) + 8).toFixed(1)}" y="${y + 15}">${formatMs(median(walls))}</text>`,
    ].join('');
  });
  const height = TOP + series.length * ROW + 10;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="13">`,
    '<rect width="100%" height="100%" fill="#fff"/>',
    `<text x="10" y="24" font-size="15" font-weight="600">${escapeText(title)}</text>`,
    ...rows,
    '</svg>\n',
  ].join('\n');
}

function formatMs(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(ms < 10 ? 1 : 0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

function escapeText(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
