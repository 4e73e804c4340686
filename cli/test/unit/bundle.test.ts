import { describe, expect, test } from 'vitest';
import { processArguments, type RunOptions, runtimeSpec } from '../../src/run/bundle.ts';
import { resolveUser } from '../../src/run/user.ts';

const root = resolveUser('', '', '');
const options: RunOptions = {
  command: [],
  entrypoint: undefined,
  env: [],
  workingDirectory: undefined,
  terminal: false,
  network: 'none',
};
const image = (config: object) => ({
  os: 'linux',
  architecture: 'amd64',
  config,
  rootfs: { type: 'layers' },
});
const processOf = (config: object, changed: Partial<RunOptions> = {}, callerEnv = {}) =>
  (
    runtimeSpec('id', '/rootfs', image(config), root, { ...options, ...changed }, callerEnv) as {
      process: Record<string, unknown>;
    }
  ).process;

describe('what runs', () => {
  test.each<[string, object, Partial<RunOptions>, string[]]>([
    ['the command alone', { Cmd: ['a', 'b'] }, {}, ['a', 'b']],
    ['entrypoint and command', { Entrypoint: ['e'], Cmd: ['a'] }, {}, ['e', 'a']],
    ['a command instead of the image’s', { Entrypoint: ['e'], Cmd: ['a'] }, { command: ['x'] }, ['e', 'x']],
    [
      'an entrypoint drops the image’s command',
      { Entrypoint: ['e'], Cmd: ['a'] },
      { entrypoint: 's' },
      ['s'],
    ],
    [
      'an entrypoint with a command',
      { Entrypoint: ['e'], Cmd: ['a'] },
      { entrypoint: 's', command: ['x'] },
      ['s', 'x'],
    ],
    ['an empty entrypoint with a command', { Entrypoint: ['e'] }, { entrypoint: '', command: ['x'] }, ['x']],
  ])('%s', (_, config, changed, expected) => {
    expect(processArguments(image(config), { ...options, ...changed })).toEqual(expected);
  });

  test('nothing to run is an error that says what to do', () => {
    expect(() => processArguments(image({}), options)).toThrow(
      expect.objectContaining({
        code: 'invalid_argument',
        hint: expect.stringContaining('drakkar run IMAGE --'),
      }),
    );
  });
});

test('the environment is the image’s, then the caller’s; a bare name passes on what the caller has', () => {
  const { env } = processOf(
    { Env: ['A=1', 'B=2=3'], Cmd: ['x'] },
    { env: ['A=9', 'C', 'D', 'EMPTY='] },
    { C: 'mine', OTHER: 'not passed' },
  );
  expect(env).toEqual([expect.stringMatching(/^PATH=/), 'A=9', 'B=2=3', 'HOME=/', 'C=mine', 'EMPTY=']);
});

test.each(['', '=x'])('a variable without a name is refused: %j', (text) => {
  expect(() => processOf({ Cmd: ['x'] }, { env: [text] })).toThrow(/names no variable/);
});

test('the working directory is the caller’s, else the image’s, else the root', () => {
  expect(processOf({ Cmd: ['x'] }).cwd).toBe('/');
  expect(processOf({ Cmd: ['x'], WorkingDir: '/app' }).cwd).toBe('/app');
  expect(processOf({ Cmd: ['x'], WorkingDir: '/app' }, { workingDirectory: '/tmp' }).cwd).toBe('/tmp');
});

test('an ordinary user has no capabilities to use', () => {
  const user = resolveUser('1000', '', '');
  const spec = runtimeSpec('id', '/r', image({ Cmd: ['x'] }), user, options, {}) as {
    process: { capabilities: { effective: string[] } };
  };
  expect(spec.process.capabilities.effective).toEqual([]);
});

test('without a network there is a network namespace; with the host’s there is its resolv.conf', () => {
  const specOf = (network: 'host' | 'none') =>
    runtimeSpec('id', '/r', image({ Cmd: ['x'] }), root, { ...options, network }, {}) as {
      linux: { namespaces: { type: string }[] };
      mounts: { destination: string }[];
    };
  expect(specOf('none').linux.namespaces).toContainEqual({ type: 'network' });
  expect(specOf('none').mounts.map(({ destination }) => destination)).not.toContain('/etc/resolv.conf');
  expect(specOf('host').linux.namespaces).not.toContainEqual({ type: 'network' });
  expect(specOf('host').mounts.map(({ destination }) => destination)).toContain('/etc/resolv.conf');
});
