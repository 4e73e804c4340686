import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Registry, startRegistry } from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Host, startHost } from '../kit/drakkar.ts';
import { push, shellImage } from '../kit/image.ts';

const isRoot = process.getuid?.() === 0;

describe.skipIf(!isRoot)('drakkar run (needs root)', () => {
  let registry: Registry;
  let host: Host;
  let image: string;

  beforeAll(async () => {
    registry = await startRegistry();
    host = await startHost();
    image = await push(
      registry,
      shellImage({ Env: ['PATH=/bin', 'FROM=image'], WorkingDir: '/tmp', User: 'app' }),
      'shell',
    );
  });

  afterAll(async () => {
    await host?.[Symbol.asyncDispose]();
    await registry?.[Symbol.asyncDispose]();
  });

  const run = (...args: string[]) => host.drakkar('run', '--net', 'none', ...args);
  const spawnRun = (args: readonly string[]) => {
    const [program, ...rest] = host.command('run', '--net', 'none', ...args);
    return spawn(program, rest, { stdio: ['ignore', 'pipe', 'ignore'] });
  };

  test('builds a snapshot, starts from it, and says where the time and the bytes went', async () => {
    const first = await run(image);
    expect(first).toMatchObject({ code: 0, stdout: 'ready\n' });
    expect(first.stderr).toMatch(
      /build the snapshot.*\n.*fetch meta and devices.*\n.*mount.*\n.*create the container/,
    );
    expect(first.stderr).toMatch(/read: .* from the registry, 0 B from the store/);
    const second = await run(image);
    expect(second.stderr).toMatch(/find the snapshot/);
    expect(second.stderr).toMatch(/read: 0 B from the registry, 0 B from the store/);
  });

  test('runs as the image says', async () => {
    const { stdout } = await run(
      image,
      '--',
      '/bin/sh',
      '-c',
      'pwd; echo $FROM $HOME; while read k v; do case $k in Uid:|Gid:) echo $k $v;; esac; done < /proc/self/status',
    );
    expect(stdout).toBe('/tmp\nimage /home/app\nUid: 1234 1234 1234 1234\nGid: 1235 1235 1235 1235\n');
  });

  test('the command line wins over the image', async () => {
    const { stdout } = await run(
      '-e',
      'FROM=caller',
      '-w',
      '/',
      '-u',
      '0',
      '--entrypoint',
      '/bin/sh',
      image,
      '--',
      '-c',
      'pwd; echo $FROM; echo $HOME',
    );
    expect(stdout).toBe('/\ncaller\n/root\n');
  });

  test('passes the exit code on, and the signal', async () => {
    expect((await run(image, '--', '/bin/sh', '-c', 'exit 42')).code).toBe(42);
    const script = 'trap "echo got it; exit 7" TERM; echo up; while :; do read -t 1 x < /dev/zero || :; done';
    const child = spawnRun([image, '--', '/bin/sh', '-c', script]);
    let stdout = '';
    child.stdout.on('data', (bytes) => {
      stdout += bytes;
      if (stdout === 'up\n') child.kill('SIGTERM');
    });
    const [code] = await once(child, 'close');
    expect({ code, stdout }).toEqual({ code: 7, stdout: 'up\ngot it\n' });
  });

  test('passes stdin on when asked', async () => {
    const read = 'read x; echo "<$x>"';
    const [program, ...args] = host.command('run', '-i', '--net', 'none', image, '--', '/bin/sh', '-c', read);
    const stdout = execFileSync(program, args, {
      input: 'hello\n',
      encoding: 'utf8',
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    expect(stdout).toBe('<hello>\n');
  });

  test('gives a terminal when asked', async () => {
    const test = '"test -t 0 && test -t 1 && echo a terminal"';
    const command = host.command('run', '-t', '-i', '--net', 'none', image, '--', '/bin/sh', '-c', test);
    const stdout = execFileSync('script', ['-qec', command.join(' '), '/dev/null'], {
      encoding: 'utf8',
      input: '',
    });
    expect(stdout).toContain('a terminal');
  });

  test('--json is one object on stdout, with the container’s own output elsewhere', async () => {
    const { stdout, stderr } = await host.drakkar('--json', 'run', '--net', 'none', image);
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ exitCode: 0, found: 'here', receipt: { upstreamBytes: 0 } });
    const times = report.marks.map(({ atMs }: { atMs: number }) => atMs);
    expect(times).toEqual(times.toSorted((a: number, b: number) => a - b));
    expect(report.marks.at(-1).name).toBe('ended');
    expect(stderr).toContain('ready');
  });

  test('what a container writes is its own, and gone with it', async () => {
    const write = 'echo mine > /tmp/file; read x < /tmp/file; echo $x; ls /tmp 2>/dev/null; echo /tmp/*';
    expect((await run(image, '--', '/bin/sh', '-c', write)).stdout).toBe('mine\n/tmp/file\n');
    expect((await run(image, '--', '/bin/sh', '-c', 'echo /tmp/*')).stdout).toBe('/tmp/*\n');
    expect(readdirSync(join(host.directory, 'native/overlays'))).toEqual([]);
  });

  test.each([
    [['no-such-host.invalid/x:1'], /no-such-host/],
    [['-u', 'nobody-here', 'IMAGE'], /no user "nobody-here"/],
    [['IMAGE', '--', '/no/such/program'], /could not start the container/],
    [['UPPER CASE'], /not.*invalid|invalid/],
  ])('%j fails with 125 and says why', async (args, words) => {
    const outcome = await run(...args.map((arg) => (arg === 'IMAGE' ? image : arg)));
    expect(outcome.code).toBe(125);
    expect(outcome.stderr).toMatch(words);
    expect(readdirSync(join(host.directory, 'native/overlays'))).toEqual([]);
  });

  const overlays = () => readdirSync(join(host.directory, 'native/overlays'));

  test('a cold start on a terminal ends when the container does, and leaves a clean screen', async () => {
    const cold = await push(registry, shellImage({}, [{ name: 'cold', data: 'x' }]), 'cold');
    const command = host.command('run', '--net', 'none', cold);
    const screen = execFileSync('script', ['-qec', command.join(' '), '/dev/null'], {
      encoding: 'utf8',
      input: '',
      timeout: 60_000,
    });
    expect(screen).toMatch(/ready[\s\S]*to the first output/);
    expect(screen.lastIndexOf('building')).toBeLessThan(screen.indexOf('to the first output'));
  });

  test('a reader who leaves takes nothing with it', () => {
    const endless = 'while :; do echo yes yes yes yes yes yes; done';
    const command = host.command('run', '--net', 'none', image, '--', '/bin/sh', '-c', endless);
    const script = ['-c', '"$@" 2>/dev/null | head -c 10', 'sh', ...command];
    const output = execFileSync('sh', script, { encoding: 'utf8', timeout: 60_000 });
    expect(output).toBe('yes yes ye');
    expect(overlays()).toEqual([]);
  });

  test('output that can’t be written is an error, whatever the container says of it', async () => {
    const [program, ...args] = host.command(
      'run',
      '--net',
      'none',
      image,
      '--',
      '/bin/sh',
      '-c',
      'echo lost',
    );
    const full = openSync('/dev/full', 'w');
    const child = spawn(program, args, { stdio: ['ignore', full, 'pipe'] });
    closeSync(full);
    let words = '';
    child.stderr?.on('data', (bytes) => {
      words += bytes;
    });
    const [code] = await once(child, 'close');
    expect({ code, words }).toEqual({ code: 125, words: expect.stringContaining('ENOSPC') });
    expect(overlays()).toEqual([]);
  });

  test('a terminal is refused where there is none', async () => {
    expect(await run('-t', image)).toMatchObject({ code: 125, stderr: expect.stringMatching(/--tty needs/) });
  });

  test('the container’s exit code survives the helper', async () => {
    const script = 'echo up; i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; exit 42';
    const child = spawnRun([image, '--', '/bin/sh', '-c', script]);
    const closed = once(child, 'close');
    await once(child.stdout, 'data');
    await host.kill('helper');
    expect(await closed).toEqual([42, null]);
    await host.start();
    expect(await host.drakkar('snapshot', 'umount', image)).toMatchObject({ code: 0 });
    expect(overlays()).toEqual([]);
  });

  test('what a killed command leaves goes at the next unmount', async () => {
    const child = spawnRun([image, '--', '/bin/sh', '-c', 'echo up; read x']);
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'close');
    await expect
      .poll(async () => (await host.drakkar('snapshot', 'umount', image)).code, { timeout: 30_000 })
      .toBe(0);
    expect(overlays()).toEqual([]);
  });

  test.each([
    [['--net', 'nowhere', 'IMAGE'], /nowhere/],
    [['--frobnicate', 'IMAGE'], /frobnicate/],
  ])('%j are wrong arguments', async (args, words) => {
    const outcome = await host.drakkar(
      '--json',
      'run',
      ...args.map((arg) => (arg === 'IMAGE' ? image : arg)),
    );
    expect(outcome).toMatchObject({ code: 125, stderr: expect.stringMatching(words) });
    expect(JSON.parse(outcome.stdout).error.code).toBe('invalid_argument');
  });

  test('an image for another platform is not run as if it were for this one', async () => {
    const outcome = await run('--platform', 'linux/s390x', image);
    expect(outcome).toMatchObject({
      code: 125,
      stderr: expect.stringMatching(/is for linux\/.*, not for linux\/s390x/),
    });
  });

  test('Ctrl-C in the middle of a build is a cancellation', async () => {
    const large = await push(
      registry,
      shellImage({}, [{ name: 'noise', data: randomBytes(20_000_000) }]),
      'large',
    );
    const [program, ...args] = host.command('snapshot', 'build', large);
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    await once(child.stderr, 'data');
    child.kill('SIGINT');
    const [code] = await once(child, 'close');
    expect(code).toBe(130);
  });

  test('a start leaves no mount behind once everything is unmounted', async () => {
    await run(image);
    const [snapshot] = await host.client.snapshots();
    expect(snapshot?.path).toBeTruthy();
    for (const { manifestDigest } of await host.client.snapshots()) {
      expect(await host.drakkar('snapshot', 'umount', manifestDigest)).toMatchObject({ code: 0 });
    }
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(host.directory);
    expect(existsSync(snapshot?.path ?? '')).toBe(false);
  });
});
