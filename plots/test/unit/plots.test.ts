import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bars, distribution, lines } from '../../src/index.ts';

const time = { title: 'time', unit: 's' };
const hosts = { title: 'hosts', scale: 'log' } as const;

/** All plots of a title, and names and values of series. */
const PLOTS: Readonly<
  Record<string, (title: string, name: string, values: readonly number[]) => Promise<string>>
> = {
  bars: (title, name, values) => bars({ title, axis: time, series: [{ name, values }] }),
  lines: (title, name, values) =>
    lines({
      ...{ title, x: hosts, y: { ...time, scale: 'log' } },
      series: [{ name, points: values.map((y, index) => ({ x: 10 ** index, y })) }],
      targets: [{ name: `target of ${name}`, points: [{ x: 1, y: 1 }] }],
    }),
  distribution: (title, name, values) =>
    distribution({ title, axis: time, series: [{ name, values }], target: { name, value: 1 } }),
};

/** What is left when every tag and entity is taken away has neither `<` nor `&`, and the tags are those that plots have. */
function expectWellFormed(svg: string): void {
  expect(svg).toMatch(/^<svg [^>]*width="720"/);
  const tags = [...svg.matchAll(/<\/?([a-zA-Z]+)(?:\s+[\w:-]+="[^"<]*")*\s*\/?>/g)];
  expect(new Set(tags.map(([, name]) => name))).toSatisfy((names: Set<string>) =>
    names.isSubsetOf(new Set(['svg', 'g', 'rect', 'path', 'line', 'text', 'tspan'])),
  );
  const rest = tags.reduce((text, [tag]) => text.replace(tag, ''), svg);
  expect(rest.replaceAll(/&(amp|lt|gt|quot|apos|#\d+|#x[0-9a-f]+);/gi, '')).not.toMatch(/[<&]/);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: XML has none of them.
  expect(svg).not.toMatch(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/);
  expect(svg.isWellFormed()).toBe(true);
}

describe.each(Object.entries(PLOTS))('%s', (_, draw) => {
  test('of the same data are the same bytes', async () => {
    const first = await draw('Cold start', 'drakkar', [3, 1, 2]);
    await draw('another', 'one', [4]);
    expect(await draw('Cold start', 'drakkar', [3, 1, 2])).toBe(first);
  });

  test('say what they show, and in which unit', async () => {
    const svg = await draw('Cold start', 'drakkar, warm', [3, 1, 2]);
    for (const text of ['Cold start', 'drakkar, warm', 'time (s)']) expect(svg).toContain(text);
    expect(svg).toContain('#ffffff');
    expect(svg).toContain('#2a6f97');
  });

  test('are drawn of nothing, and of what is no number', async () => {
    for (const values of [[], [Number.NaN], [0], [-1, Number.POSITIVE_INFINITY], [5, 5, 5]])
      expectWellFormed(await draw('title', 'name', values));
  });

  test('hold whatever names there are', async () => {
    const hostile = [
      '</text><script>alert(1)</script>',
      '"&\'<',
      ']]>',
      '\u0000\uD800\uFFFF',
      '__proto__',
      '',
    ];
    const names = fc.oneof(fc.constantFrom(...hostile), fc.string({ unit: 'binary', maxLength: 200 }));
    await fc.assert(
      fc.asyncProperty(names, names, async (title, name) => {
        expectWellFormed(await draw(title, name, [1, 2]));
      }),
      { numRuns: 60 },
    );
  });
});

test('bars show the median, and no more ticks than can be told apart', async () => {
  const values = Array.from({ length: 100_001 }, (_, index) => index);
  const svg = await bars({
    title: 'many',
    axis: { title: 'time', unit: 'ms' },
    series: [{ name: 'a', values }],
  });
  expect(svg).toContain('50,000');
  expect(svg.length).toBeLessThan(100_000);
});
