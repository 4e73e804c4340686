import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseAge } from '../../src/command-line/age.ts';
import { defineCommand } from '../../src/command-line/command.ts';
import { commandHelp, programHelp } from '../../src/command-line/help.ts';
import { parseNumber } from '../../src/command-line/number.ts';
import { commandWords, parseCommandLine } from '../../src/command-line/parse.ts';

const command = defineCommand({
  name: 'fleet launch',
  summary: 'start it',
  notes: 'Or not.',
  positionals: ['<image>', '[command...]'],
  options: {
    env: { short: 'e', value: 'name=value', multiple: true, summary: 'set a variable' },
    net: { value: 'network', choices: ['host', 'none'], default: 'host', summary: 'network' },
    output: { short: 'o', value: 'file', required: true, summary: 'where to' },
    tty: { short: 't', summary: 'terminal' },
  },
  run: async () => {},
});

const parse = (...args: string[]) => parseCommandLine(command, args);

describe('a command line', () => {
  test('is read into what the command takes', () => {
    const line = parse('-e', 'A=1', 'img', '--json', '-tofile', '--env=B=-2', '--', 'ls', '-l', '--json');
    expect(line).toEqual({
      global: { config: undefined, socket: undefined, json: true, help: false, version: false },
      flags: { env: ['A=1', 'B=-2'], net: 'host', output: 'file', tty: true },
      positionals: ['img', ['ls', '-l', '--json']],
    });
  });

  test.each([
    [['img'], /--output <file> is missing/],
    [['-o', 'f'], /<image> is missing/],
    [['-o', 'f', 'img', '--net', 'nowhere'], /--net is one of host, none, not "nowhere"/],
    [['-o', 'f', 'img', '--frobnicate'], /--frobnicate/],
    [['-o'], /-o/],
    [['--tty=yes', '-o', 'f', 'img'], /tty/],
  ])('%j is refused', (args, words) => {
    expect(() => parse(...args)).toThrow(
      expect.objectContaining({
        code: 'invalid_argument',
        message: expect.stringMatching(words),
        hint: 'see: drakkar fleet launch --help',
      }),
    );
  });

  test('a command that serves the socket takes no other', () => {
    const daemon = { name: 'daemon', options: {}, positionals: [], servesSocket: true } as const;
    expect(() => parseCommandLine(daemon, ['--socket', '/run/x.sock'])).toThrow('in its stateDirectory');
  });

  test('one argument too many is said', () => {
    const bare = { name: 'ls', options: {}, positionals: [] };
    expect(() => parseCommandLine(bare, ['a', 'b'])).toThrow('too many arguments, from "a" on');
  });

  test('asking for help needs nothing else', () => {
    expect(parse('--help').global.help).toBe(true);
    expect(parse('-V').global.version).toBe(true);
  });

  test.each([
    [
      ['run', 'img'],
      ['run', 'img'],
    ],
    [
      ['--socket', 'run', '--json', 'pull', 'x', 'y'],
      ['pull', 'x'],
    ],
    [
      ['--socket=s', 'snapshot', '--json', 'ls'],
      ['snapshot', 'ls'],
    ],
    [['--', 'run'], []],
    [['-x'], []],
  ])('the words of %j are %j', (args, words) => {
    expect(commandWords(args).map(({ word }) => word)).toEqual(words);
  });

  test('anything is read or refused', () => {
    const arg = fc.oneof(fc.string(), fc.constantFrom('-o', '--net', '--', '-e', '--json', '--env='));
    fc.assert(
      fc.property(fc.array(arg), (args) => {
        for (const { word, index } of commandWords(args)) expect(args[index]).toBe(word);
        try {
          expect(parse(...args).global.json).toBeTypeOf('boolean');
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid_argument' });
        }
      }),
    );
  });
});

describe('the help', () => {
  test('of a command says how it is used', () => {
    const help = commandHelp(command);
    expect(help).toMatch(
      /^usage: drakkar fleet launch \[options\] <image> \[command\.\.\.\]\n\nstart it\nOr not\./,
    );
    expect(help).toMatch(/ -e, --env <name=value> +set a variable\n/);
    expect(help).toMatch(/ {5}--net <host\|none> +network \(default: host\)\n/);
    expect(help).toMatch(/--output <file> +where to \(required\)/);
    expect(help).toContain('--socket <path>');
  });

  test('of the program lists what is not hidden, of a group what is in it', () => {
    const others = [
      defineCommand({ ...command, name: 'ls', positionals: [] }),
      defineCommand({ ...command, name: 'secret', hidden: true }),
    ];
    const all = programHelp([command, ...others]);
    expect(all).toMatch(/ls +start it/);
    expect(all).not.toContain('secret');
    expect(programHelp([command, ...others], 'fleet')).not.toMatch(/^ +ls /m);
  });
});

test('ages are read as they are shown', () => {
  expect(['90s', '30 min', '12h', '7d'].map(parseAge)).toEqual([90_000, 1_800_000, 43_200_000, 604_800_000]);
  for (const text of ['', '7', 'd', '-1d', '1.5h', '7 weeks']) {
    expect(() => parseAge(text)).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
  }
});

test('a command of the supernode goes by the supernode’s file, and by no daemon’s socket', async () => {
  const { commands } = await import('../../src/commands/supernode.ts');
  for (const text of [...commands.map(commandHelp), programHelp(commands, 'supernode')]) {
    expect(text).toContain('/etc/drakkar/supernode.yaml');
    expect(text).not.toContain('/etc/drakkar/config.yaml');
    expect(text).not.toContain('--socket');
  }
  expect(commandHelp(command)).toContain('/etc/drakkar/config.yaml');
});

test.each(['0', '101', '1.5', '', 'all'])('%j is no percentage, and what is one is said', (text) => {
  expect(() => parseNumber(text, '--percentage', [1, 100])).toThrow(
    `--percentage is a number from 1 to 100, not ${JSON.stringify(text)}`,
  );
  expect(parseNumber('100', '--percentage', [1, 100])).toBe(100);
});
