import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { startWebServer, temporaryDirectory, type WebServer } from '@drakkar/lab';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Host, startHost } from '../kit/drakkar.ts';

const MEBIBYTE = 2 ** 20;
const CONDITION = { timeout: 30_000, interval: 25 };
const isRoot = process.getuid?.() === 0;

describe.skipIf(!isRoot)('drakkar get (needs root)', () => {
  let web: WebServer;
  let host: Host;
  let work: Awaited<ReturnType<typeof temporaryDirectory>>;
  let count = 0;

  beforeAll(async () => {
    web = await startWebServer();
    work = await temporaryDirectory('get');
    host = await startHost({
      files: { allow: [`${web.url}/*`, 'http://127.0.0.1:1'], allowPrivate: [web.host] },
    });
  });
  afterAll(async () => {
    await host?.[Symbol.asyncDispose]();
    await work?.[Symbol.asyncDispose]();
    await web?.[Symbol.asyncDispose]();
  });

  async function publish(sizeBytes: number) {
    count += 1;
    const [name, bytes] = [`model ${count}.bin`, randomBytes(sizeBytes)];
    await web.put(name, bytes);
    const url = `${web.url}/${encodeURIComponent(name)}`;
    return { name, bytes, url, sha256: createHash('sha256').update(bytes).digest('hex') };
  }
  const directory = () => {
    count += 1;
    const path = join(work.path, `directory-${count}`);
    mkdirSync(path);
    return path;
  };
  const sameAs = (path: string, bytes: Buffer) => readFileSync(path).equals(bytes);

  test('writes a file under the name that its URL ends in, and says where its bytes came from', async () => {
    const { name, url, bytes, sha256 } = await publish(3 * MEBIBYTE);
    const cwd = directory();
    const [program, ...args] = host.command('get', url, '--json');
    const answer = JSON.parse(execFileSync(program, args, { cwd, encoding: 'utf8' }));
    expect(answer).toMatchObject({
      file: name,
      digest: `sha256:${sha256}`,
      sizeBytes: bytes.length,
      receipt: { upstreamBytes: bytes.length, storeBytes: 0, peerBytes: 0 },
    });
    expect(readdirSync(cwd)).toEqual([name]);
    expect(sameAs(join(cwd, name), bytes)).toBe(true);
    expect(statSync(join(cwd, name)).mode & 0o777).toBe(0o666 & ~process.umask());
    const listed = await host.drakkar('blobs');
    expect(listed.stdout).toMatch(new RegExp(`sha256:${sha256} .*complete.*${url}`));
  });

  test('writes to stdout what was asked for, and words to stderr', async () => {
    const { url, bytes } = await publish(2 * MEBIBYTE);
    const [program, ...args] = host.command('get', url, '-o', '-');
    expect(
      execFileSync(program, args, { maxBuffer: 4 * MEBIBYTE, stdio: ['ignore', 'pipe', 'ignore'] }).equals(
        bytes,
      ),
    ).toBe(true);
    // A reader that leaves is no error.
    const line = [program, ...args].map((word) => `'${word}'`).join(' ');
    const head = execFileSync('bash', ['-c', `set -o pipefail; ${line} 2>/dev/null | head -c 100`]);
    expect(head.equals(bytes.subarray(0, 100))).toBe(true);
    const [, ...part] = host.command('get', url, '-o', '-', '--range', '100-1000099');
    const bytesOfPart = execFileSync(program, part, {
      maxBuffer: 4 * MEBIBYTE,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    expect(bytesOfPart.equals(bytes.subarray(100, 1_000_100))).toBe(true);
  });

  test('says once that its output can’t be written', async () => {
    const { url } = await publish(1000);
    for (const part of [[], ['--range', '0-9']]) {
      const line = host.command('get', url, '-o', '-', ...part).map((word) => `'${word}'`);
      const child = spawn('bash', ['-c', `${line.join(' ')} > /dev/full`], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let stderr = '';
      child.stderr.setEncoding('utf8').on('data', (text) => {
        stderr += text;
      });
      expect(await once(child, 'close')).toEqual([7, null]);
      expect(stderr).toMatch(/^(downloading .*\n)?drakkar: the output can't be written: ENOSPC.*\n$/);
    }
  });

  test('goes on from what a command that was killed has written, and from nothing else', async () => {
    const { url, bytes, sha256 } = await publish(96 * MEBIBYTE);
    const file = join(directory(), 'model.bin');
    const part = `${file}.part`;
    const [program, ...args] = host.command('get', url, '-o', file, '--sha256', sha256);
    const child = spawn(program, args, { stdio: 'ignore' });
    const closed = once(child, 'close');
    while (!existsSync(part) || statSync(part).size < MEBIBYTE) {
      if (child.exitCode !== null) throw new Error('the command ended before it could be killed');
      await turn();
    }
    child.kill('SIGKILL');
    await closed;
    expect(existsSync(file)).toBe(false);
    expect(sameAs(part, bytes.subarray(0, statSync(part).size))).toBe(true);
    expect(await host.drakkar('get', url, '-o', file)).toMatchObject({ code: 0 });
    expect(sameAs(file, bytes)).toBe(true);
    expect(existsSync(part)).toBe(false);
    // What lies there may be anything.
    writeFileSync(part, randomBytes(MEBIBYTE));
    expect(await host.drakkar('get', url, '-o', file)).toMatchObject({ code: 0 });
    expect(sameAs(file, bytes)).toBe(true);
    writeFileSync(part, bytes.subarray(0, MEBIBYTE));
    expect(await host.drakkar('get', url, '-o', file, '--range', '5-9')).toMatchObject({ code: 0 });
    expect(sameAs(file, bytes.subarray(5, 10))).toBe(true);
    expect(sameAs(part, bytes.subarray(0, MEBIBYTE))).toBe(true);
    writeFileSync(part, randomBytes(97 * MEBIBYTE));
    expect(await host.drakkar('get', url, '-o', file)).toMatchObject({ code: 0 });
    expect(sameAs(file, bytes)).toBe(true);
  });

  test('writes while it arrives, and what the daemon could not finish is gone on with', async () => {
    await using slow = await startWebServer({ bytesPerSecond: 4 * MEBIBYTE });
    const bytes = randomBytes(24 * MEBIBYTE);
    await slow.put('slow', bytes);
    await using other = await startHost({ files: { allow: [`${slow.url}/*`], allowPrivate: [slow.host] } });
    const file = join(directory(), 'slow');
    const running = other.drakkar('get', `${slow.url}/slow`, '-o', file);
    await expect
      .poll(() => existsSync(`${file}.part`) && statSync(`${file}.part`).size, CONDITION)
      .toBeGreaterThan(4 * MEBIBYTE);
    await other.kill('daemon');
    expect((await running).code).toBe(5);
    expect(statSync(`${file}.part`).size).toBeGreaterThan(4 * MEBIBYTE);
    await other.start();
    expect(await other.drakkar('get', `${slow.url}/slow`, '-o', file)).toMatchObject({ code: 0 });
    expect(sameAs(file, bytes)).toBe(true);
  });

  test('replaces a file, and nothing that is none', async () => {
    const { url, bytes } = await publish(1000);
    const place = directory();
    const [file, link, fifo] = ['file', 'link', 'fifo'].map((name) => join(place, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(file, 'before');
    symlinkSync(file, link);
    execFileSync('mkfifo', [fifo]);
    for (const path of [link, fifo, place, '/dev/null']) {
      const { code, stderr } = await host.drakkar('get', url, '-o', path);
      expect({ code, stderr }).toEqual({ code: 8, stderr: expect.stringContaining('no regular file') });
    }
    expect(readFileSync(file, 'utf8')).toBe('before');
    execFileSync('mkfifo', [`${file}.part`]);
    expect((await host.drakkar('get', url, '-o', file)).stderr).toContain('file.part is there');
    execFileSync('rm', [`${file}.part`]);
    expect((await host.drakkar('get', url, '-o', file)).code).toBe(0);
    expect(sameAs(file, bytes)).toBe(true);
  });

  test.each([
    {
      what: 'a wrong sha256',
      args: ['--sha256', 'a'.repeat(64)],
      code: 6,
      words: /another digest: sha256:.* came for sha256:aaa/,
    },
    { what: 'what is no sha256', args: ['--sha256', 'abc'], code: 2, words: /64 hex digits/ },
    {
      what: 'a directory that is not there',
      args: ['-o', '/var/tmp/not/there'],
      code: 3,
      words: /\/var\/tmp\/not is not there/,
    },
    { what: 'a file without a name', args: ['-o', ''], code: 2, words: /-o FILE/ },
    { what: 'what is no range', args: ['--range', '5-4'], code: 2, words: /START-END/ },
    { what: 'a range behind the end', args: ['--range', '5000-'], code: 2, words: /has 1000 bytes/ },
    { what: 'JSON and the file on stdout', args: ['--json', '-o', '-'], code: 2, words: /both want stdout/ },
  ])('refuses $what, says what to do, and leaves nothing', async ({ args, code, words }) => {
    const { url } = await publish(1000);
    const cwd = directory();
    const [program, ...all] = host.command('get', url, ...args);
    const child = spawn(program, all, { cwd, stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    expect(await once(child, 'close')).toEqual([code, null]);
    expect(stderr).toMatch(words);
    expect(readdirSync(cwd)).toEqual([]);
  });

  test.each([
    {
      url: 'https://169.254.169.254/latest/meta-data/x',
      code: 4,
      words: /not on the allowlist[\s\S]*files\.allow/,
    },
    { url: 'http://2130706433:1/x', code: 4, words: /private address[\s\S]*files\.allowPrivate/ },
    { url: 'ftp://example.com/x', code: 2, words: /https:\/\/host\/path/ },
    { url: 'https://user:word@example.com/x', code: 2, words: /a user or a password/ },
    { url: 'https://example.com/', code: 2, words: /-o FILE/ },
  ])('asks nobody for $url', async ({ url, code, words }) => {
    const outcome = await host.drakkar('get', url);
    expect({ code: outcome.code, stderr: outcome.stderr }).toEqual({
      code,
      stderr: expect.stringMatching(words),
    });
  });
});
