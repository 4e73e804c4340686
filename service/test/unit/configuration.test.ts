import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { byteSize, clashes, defineConfiguration, nearest, port } from '../../src/index.ts';

const { check, complete } = defineConfiguration({
  schema: z.strictObject({
    address: z.string().default('127.0.0.1'),
    port: port.default(80),
    mode: z.enum(['fast', 'safe']).default('safe'),
    size: byteSize.prefault('1MiB'),
    people: z.array(z.strictObject({ name: z.string(), password: z.string().optional() })).default([]),
    labels: z.record(z.string(), z.string()).default({}),
    metrics: z.strictObject({ port: port.default(81), on: z.boolean().default(true) }).prefault({}),
  }),
  examine: ({ address, port: main, metrics }) =>
    clashes([
      { setting: 'port', address, port: main },
      { setting: 'metrics.port', address, port: metrics.port },
    ]),
  defaultPath: '/etc/example.yaml',
  title: 'Example',
  about: [],
  source: 'here',
  documentedIn: 'there',
  defaultCommand: 'example default',
  other: { whose: 'a shop’s', settings: ['till', 'door'] },
});

const said = (raw: unknown) => check(raw).findings.map(({ setting, message }) => `${setting}: ${message}`);

describe('a configuration', () => {
  test('is told everything that is wrong in it at once, and what to write instead', () => {
    expect(
      said({
        prot: 1,
        port: 70_000,
        mode: 'hasty',
        size: false,
        people: [{ password: 7 }],
        labels: { rack: 3 },
        metrics: { port: 1.5, on: 'yes' },
      }),
    ).toEqual([
      'port: write at most 65535 instead of 70000',
      'mode: write one of fast, safe instead of "hasty"',
      'size: is not a size; write it as 10GiB, 500MB or a number of bytes',
      'people.0.name: is missing; write a text',
      'people.0.password: write a text',
      'labels.rack: write a text instead of 3',
      'metrics.port: write a whole number instead of 1.5',
      'metrics.on: write true or false instead of "yes"',
      'prot: there is no such setting; perhaps port is meant',
    ]);
    expect(said({ metrics: null, colour: 'red' })).toEqual([
      'metrics: is empty; write settings, each with its name, or leave the key out',
      'colour: there is no such setting; there are address, port, mode, size, people, labels, metrics',
    ]);
    expect(said([])).toEqual(['the whole file: write settings, each with its name instead of a list']);
  });

  test('is looked at as a whole, too, where single settings are wrong', () => {
    expect(said({ port: 81, mode: 'hasty' })).toEqual([
      'mode: write one of fast, safe instead of "hasty"',
      'metrics.port: port 81 is that of port already; write another, or 0 for a free one',
    ]);
  });

  test('that is wrong is refused with all of it', () => {
    expect(() => complete({ port: -1, mode: 1 }, 'a.yaml')).toThrow(
      expect.objectContaining({
        code: 'invalid_argument',
        message:
          'a.yaml has 2 problems:\n  port: write at least 0 instead of -1\n  mode: write one of fast, safe instead of 1',
      }),
    );
    expect(() => complete({ port: -1 }, 'a.yaml')).toThrow('a.yaml: port: write at least 0 instead of -1');
  });

  test.each([
    [{ port: -1 }, 'see there, or `example default`'],
    [
      { till: 1, door: 2, port: -1 },
      'this looks like a shop’s configuration; see there, or `example default`',
    ],
    [{ till: 1, port: -1 }, 'see there, or `example default`'],
  ])('%j is refused with where to look', (raw, hint) => {
    expect(() => complete(raw)).toThrow(expect.objectContaining({ hint }));
  });

  test('whatever it is, is complete or has problems', () => {
    fc.assert(
      fc.property(fc.object({ key: fc.constantFrom('port', 'people', 'metrics', 'on', 'x') }), (raw) => {
        const { config, findings } = check(raw);
        expect(config !== undefined || findings.length > 0).toBe(true);
      }),
    );
  });
});

describe('ports', () => {
  const listener = (setting: string, address: string, number: number) => ({ setting, address, port: number });

  test.each([
    ['the same address', '127.0.0.1', 'localhost', 1],
    ['everywhere and one address', '0.0.0.0', '10.0.0.1', 1],
    ['two addresses', '10.0.0.1', '10.0.0.2', 0],
  ])('on %s', (_, first, second, found) => {
    expect(clashes([listener('a', first, 1), listener('b', second, 1)])).toHaveLength(found);
  });

  test('that are free ones never clash', () => {
    expect(clashes([listener('a', '::', 0), listener('b', '::', 0)])).toEqual([]);
  });
});

test('the nearest word is what may have been meant', () => {
  const labels = ['host', 'rack', 'zone', 'region'];
  expect(['rak', 'zoen', 'Region', 'hots', 'racks'].map((word) => nearest(word, labels, 1))).toEqual([
    'rack',
    'zone',
    'region',
    'host',
    'rack',
  ]);
  expect(['site', 'role', 'x'].map((word) => nearest(word, labels, 1))).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
});
