import { Error as ERRORS, logger, parse, View } from 'vega';
import { type Config, compile, type TopLevelSpec } from 'vega-lite';

/** What an axis shows, as in `{ title: 'time', unit: 'ms' }`. */
export interface Axis {
  readonly title: string;
  readonly unit?: string;
  /** Linear where it is absent. On a logarithmic axis there is nothing at or below zero. */
  readonly scale?: 'linear' | 'log';
}

/** Values that were measured of one thing. */
export interface Sampled {
  /** Ours where it begins with `drakkar`. */
  readonly name: string;
  readonly values: readonly number[];
}

export const WIDTH = 720;
/** Of a plot with two axes, without its title and legend. */
export const HEIGHT = 320;

/** Of texts, samples and targets. */
export const INK = '#222222';
export const OUR_COLOR = '#2a6f97';
export const OTHER_COLOR = '#b8b8b8';
const OURS = [OUR_COLOR, '#61a5c2', '#01344f', '#89c2d9', '#468faf', '#012a4a'];
const OTHERS = ['#8a8a8a', OTHER_COLOR, '#5c5c5c', '#d0d0d0', '#727272', '#a1a1a1'];
/** Tells apart lines whose colours are close. */
const DASHES: readonly number[][] = [[], [6, 3], [2, 2], [10, 3, 2, 3], [12, 4], [4, 6]];

const TARGET: Look = { color: INK, dash: [1, 3] };

const TITLE_CHARACTERS = 75;
const MAX_NAME_CHARACTERS = 96;

const CONFIG: Config = {
  background: '#ffffff',
  font: 'system-ui, sans-serif',
  // What would be said of each mark is many times the drawing; documents say what a plot shows.
  aria: false,
  title: { anchor: 'start', fontSize: 15, fontWeight: 600, offset: 14 },
  axis: {
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    titlePadding: 10,
    labelColor: INK,
    titleColor: INK,
    gridColor: '#e6e6e6',
  },
  axisQuantitative: { format: ',.4~r' },
  legend: {
    orient: 'bottom',
    title: null,
    labelFontSize: 12,
    labelLimit: 0,
    symbolType: 'stroke',
    symbolSize: 500,
    symbolOpacity: 1,
    symbolStrokeWidth: 2,
    offset: 14,
  },
  view: { stroke: null },
};

/** Draws a specification of Vega-Lite at the width of all plots. */
export async function toSvg(title: string, spec: object): Promise<string> {
  const whole = {
    $schema: 'https://vega.github.io/schema/vega-lite/v6.json',
    width: WIDTH,
    padding: 10,
    autosize: { type: 'fit-x', contains: 'padding' },
    title: { text: wrap(title, TITLE_CHARACTERS) },
    config: CONFIG,
    ...spec,
  } as TopLevelSpec;
  const view = new View(parse(compile(whole, { logger: logger(ERRORS) }).spec), { renderer: 'none' });
  try {
    return `${await view.toSVG()}\n`;
  } finally {
    view.finalize();
  }
}

export function axisTitle({ title, unit }: Axis): string {
  return plain(unit === undefined ? title : `${title} (${unit})`);
}

export const isOurs = (name: string): boolean => name.startsWith('drakkar');

interface Look {
  readonly color: string;
  readonly dash: readonly number[];
}

/** How each of some lines looks: ours in shades of blue, others in shades of grey. Where none is named as ours, all are. */
export function looksOf(names: readonly string[]): Look[] {
  const anyOurs = names.some(isOurs);
  const used = { ours: 0, others: 0 };
  return names.map((name) => {
    const which = isOurs(name) || !anyOurs ? 'ours' : 'others';
    const colors = which === 'ours' ? OURS : OTHERS;
    const index = used[which]++;
    return { color: colors[index % colors.length] ?? INK, dash: DASHES[index % DASHES.length] ?? [] };
  });
}

/** Which line has which look, with a legend. */
export function lineEncoding(names: readonly string[], targets: readonly string[]): object {
  const looks = [...looksOf(names), ...targets.map(() => TARGET)];
  const all = [...names, ...targets].map(plain);
  const domain = all.map((_, index) => index);
  const legend = { columns: all.some((name) => name.length > 40) ? 1 : 2, labelExpr: labelsOf(all) };
  const channel = (range: readonly unknown[]) => ({
    field: 'series',
    type: 'nominal',
    sort: null,
    scale: { domain, range },
    legend,
  });
  return {
    color: channel(looks.map(({ color }) => color)),
    strokeDash: channel(looks.map(({ dash }) => dash)),
  };
}

/** An expression that gives the name of a series by its index: others may have the same name. */
export function labelsOf(names: readonly (string | readonly string[])[]): string {
  return `${JSON.stringify(names)}[datum.value]`;
}

/** Where a value lies along an axis. */
export function position(field: string, axis: Axis, values: readonly number[]): object {
  const isLog = axis.scale === 'log';
  return {
    field,
    type: 'quantitative',
    title: axisTitle(axis),
    scale: isLog ? { type: 'log', nice: false } : { zero: false },
    ...(isLog ? { axis: ticksOf(values) } : {}),
  };
}

/** Whether an axis has room for a value. */
export const isShown = (value: number, { scale }: Axis): boolean =>
  Number.isFinite(value) && (scale !== 'log' || value > 0);

/** Powers of ten, as far apart as they are few; within one, the ticks that Vega would take. */
function ticksOf(values: readonly number[]): object {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const decades = Math.log10(most / least);
  if (!(decades >= 1)) return {};
  const first = Math.floor(Math.log10(least));
  const steps = decades < 2 ? [1, 2, 5] : [1];
  const ticks = Array.from({ length: Math.ceil(decades) + 2 }, (_, index) => 10 ** (first + index));
  return { values: ticks.flatMap((power) => steps.map((step) => power * step)) };
}

/** A text as an XML document may hold it, of bounded length: names are others' and may hold anything. */
export function plain(text: string): string {
  const clean = text.toWellFormed().replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\uFFFE\uFFFF]/gu, '\uFFFD');
  // Vega looks texts up in plain objects, and stumbles on `valueOf` and whatever else each of them has.
  if (clean in {}) return `${clean}\u200B`;
  const characters = [...clean];
  return characters.length <= MAX_NAME_CHARACTERS
    ? clean
    : `${characters.slice(0, MAX_NAME_CHARACTERS - 1).join('')}…`;
}

/** The lines of a text that are as long as they may be, broken at blanks. */
export function wrap(text: string, characters: number): string[] {
  const wrapped: string[] = [];
  for (const word of text.split(' ').map(plain)) {
    const last = wrapped.at(-1);
    if (last === undefined || last.length + 1 + word.length > characters) wrapped.push(word);
    else wrapped[wrapped.length - 1] = `${last} ${word}`;
  }
  return wrapped;
}
