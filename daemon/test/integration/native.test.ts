import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import {
  type Backing,
  keepHelper,
  type MountVolume,
  nativeHelper,
  nativeProgram,
  startHelper,
} from '@drakkar/daemon';
import { loopFilesBelow, mountsBelow, type TemporaryDirectory, temporaryDirectory } from '@drakkar/lab';
import { digestOf, hexOf } from '@drakkar/protocol';
import { isAnswered } from '@drakkar/service';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type SampleVolume, sampleVolume } from '../kit/erofs.ts';

const [CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_SETGID, CAP_SETUID, CAP_SYS_PTRACE, CAP_SYS_ADMIN] = [
  0, 1, 3, 6, 7, 19, 21,
];
const isRoot = process.getuid?.() === 0;

let directory: TemporaryDirectory;
let root: string;
let content: string;
let blobs: string;
let socket: string;

const start = (uid = 0) =>
  startHelper({ root, content, blobs, socket, uid, signal: AbortSignal.timeout(60_000) });
/** A volume of which everything is here. */
const whole = ({ meta, devices }: SampleVolume, backing: Backing = 'auto'): Omit<MountVolume, 'volume'> => ({
  meta,
  devices: devices.map((digest) => ({
    digest,
    sizeBytes: statSync(join(content, hexOf(digest))).size,
    complete: true,
  })),
  blockBytes: 512 * 1024,
  backend: 'auto',
  backing,
});

beforeEach(async () => {
  directory = await temporaryDirectory('native');
  [root, content, blobs, socket] = ['root', 'content', 'blobs', 'native.sock'].map((name) =>
    join(directory.path, name),
  ) as [string, string, string, string];
  mkdirSync(content);
});

afterEach(async () => {
  for (const path of mountsBelow(directory.path)) execFileSync('umount', [path]);
  await directory[Symbol.asyncDispose]();
});

describe.skipIf(!isRoot)('the native helper (needs root)', () => {
  describe.each<Backing>(['file', 'loop'])('with volumes backed by a %s', (backing) => {
    test('mounts a volume, says so, and leaves nothing behind', async () => {
      await using _ = await start();
      await using helper = nativeHelper(socket);
      const sample = sampleVolume(content);
      const wanted = { volume: 'v1', ...whole(sample, backing) };
      const mounted = await helper.mountVolume(wanted);
      expect(mounted).toMatchObject({ mounted: true, backing, overlays: [] });
      expect(readFileSync(join(mounted.path, 'hello'), 'utf8')).toBe('hello');
      expect(
        readFileSync(join(mounted.path, 'directory/chunks')).equals(Buffer.alloc(256 * 1024, 'hello')),
      ).toBe(true);
      expect(await helper.mountVolume(wanted)).toEqual(mounted);
      expect(loopFilesBelow(directory.path)).toHaveLength(backing === 'loop' ? 2 : 0);

      await helper.umountVolume('v1');
      await helper.umountVolume('v1');
      expect(await helper.volumes()).toEqual([]);
      expect(mountsBelow(root)).toEqual([]);
      await expect.poll(() => loopFilesBelow(directory.path)).toEqual([]);
    });

    test('a failed mount leaves no mount, no loop device and no volume', async () => {
      await using _ = await start();
      await using helper = nativeHelper(socket);
      const garbage = Buffer.alloc(8192, 7);
      writeFileSync(join(content, hexOf(digestOf(garbage))), garbage);
      const mount = helper.mountVolume({
        volume: 'bad',
        ...whole({ meta: digestOf(garbage), devices: [], text: '' }, backing),
      });
      await expect(mount).rejects.toMatchObject({ message: expect.stringContaining('erofs') });
      expect(await helper.volumes()).toEqual([]);
      expect(mountsBelow(root)).toEqual([]);
      await expect.poll(() => loopFilesBelow(directory.path)).toEqual([]);
    });
  });

  test('what is busy is not unmounted, and says so', async () => {
    await using _ = await start();
    await using helper = nativeHelper(socket);
    const sample = sampleVolume(content);
    const { path } = await helper.mountVolume({ volume: 'v1', ...whole(sample) });
    const user = spawn('sleep', ['60'], { cwd: path });
    try {
      await once(user, 'spawn');
      await expect(helper.umountVolume('v1')).rejects.toMatchObject({ code: 'busy' });
    } finally {
      user.kill('SIGKILL');
      await once(user, 'close');
    }
    const overlay = await helper.prepareOverlay({ overlay: 'o1', volume: 'v1', mount: true });
    await expect(helper.umountVolume('v1')).rejects.toMatchObject({
      code: 'busy',
      message: expect.stringContaining('o1'),
    });
    writeFileSync(join(overlay.rootfs, 'new'), 'written');
    expect(existsSync(join(overlay.upperdir, 'new'))).toBe(true);
    await helper.removeOverlay('o1');
    await helper.umountVolume('v1');
    expect(existsSync(overlay.upperdir)).toBe(false);
  });

  test('an overlay that lives on in another mount namespace is not pulled away from there', async () => {
    await using _ = await start();
    await using helper = nativeHelper(socket);
    const sample = sampleVolume(content);
    await helper.mountVolume({ volume: 'v1', ...whole(sample) });
    await helper.prepareOverlay({ overlay: 'o1', volume: 'v1', mount: true });
    const container = spawn('unshare', ['--mount', 'sh', '-c', 'echo ready; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      await once(container.stdout, 'data');
      await expect(helper.removeOverlay('o1')).rejects.toMatchObject({ code: 'busy' });
    } finally {
      container.kill('SIGKILL');
      await once(container, 'close');
    }
    await helper.removeOverlay('o1');
  });

  test('an id-mapped overlay shows shifted owners and changes none', async () => {
    await using _ = await start();
    await using helper = nativeHelper(socket);
    const sample = sampleVolume(content);
    await helper.mountVolume({ volume: 'v1', ...whole(sample) });
    const idMap = { hostUid: 100_000, hostGid: 200_000, size: 65_536 };
    const overlay = await helper.prepareOverlay({ overlay: 'o1', volume: 'v1', mount: true, idMap });
    expect(statSync(join(overlay.rootfs, 'hello'))).toMatchObject({ uid: 100_000, gid: 200_000 });
    expect(statSync(overlay.rootfs)).toMatchObject({ uid: 100_000, gid: 200_000 });
    await helper.removeOverlay('o1');
    expect(mountsBelow(join(root, 'overlays'))).toEqual([]);
  });

  test('survives its own death, and a reboot', async () => {
    const sample = sampleVolume(content);
    const wanted = { volume: 'v1', ...whole(sample) };
    const first = await start();
    await using helper = nativeHelper(socket);
    const { path } = await helper.mountVolume(wanted);
    const { rootfs } = await helper.prepareOverlay({ overlay: 'o1', volume: 'v1', mount: true });
    writeFileSync(join(rootfs, 'kept'), 'yes');
    process.kill(first.pid, 'SIGKILL');
    await first[Symbol.asyncDispose]();
    expect(readFileSync(join(path, 'hello'), 'utf8')).toBe('hello');
    {
      await using _ = await start();
      expect(await helper.volumes()).toMatchObject([{ volume: 'v1', mounted: true, overlays: ['o1'] }]);
    }
    execFileSync('umount', [rootfs]);
    execFileSync('umount', [path]);
    await using _ = await start();
    expect(await helper.volumes()).toMatchObject([{ volume: 'v1', mounted: false, backing: null }]);
    await helper.prepareOverlay({ overlay: 'o1', volume: 'v1', mount: true });
    expect(readFileSync(join(rootfs, 'kept'), 'utf8')).toBe('yes');
    expect(await helper.volumes()).toMatchObject([{ volume: 'v1', mounted: true }]);
    await helper.removeOverlay('o1');
    await helper.umountVolume('v1');
  });

  test('takes down at its start what nobody asked for', async () => {
    const stray = join(root, 'volumes', 'stray');
    mkdirSync(stray, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', 'stray', stray]);
    await using _ = await start();
    expect(mountsBelow(root)).toEqual([]);
    expect(existsSync(stray)).toBe(false);
  });

  test('takes ids, and never follows a link out of the content directory', async () => {
    await using _ = await start();
    await using helper = nativeHelper(socket);
    const sample = sampleVolume(content);
    for (const volume of ['../v1', 'a/b', '', '.', 'x'.repeat(200)]) {
      const mount = helper.mountVolume({ volume, ...whole({ ...sample, devices: [] }) });
      await expect(mount).rejects.toMatchObject({ code: 'invalid_argument' });
    }
    const outside = join(directory.path, 'outside');
    writeFileSync(outside, readFileSync(join(content, hexOf(sample.meta))));
    const link = digestOf('link');
    symlinkSync(outside, join(content, hexOf(link)));
    const mount = helper.mountVolume({ volume: 'linked', ...whole({ ...sample, meta: link, devices: [] }) });
    await expect(mount).rejects.toMatchObject({
      message: expect.stringContaining('opening the file'),
    });
    const missing = helper.mountVolume({
      volume: 'v',
      ...whole({ ...sample, meta: digestOf('missing'), devices: [] }),
    });
    await expect(missing).rejects.toMatchObject({ code: 'not_found' });
  });

  test('a volume id never changes its meaning while it is in use', async () => {
    await using _ = await start();
    await using helper = nativeHelper(socket);
    const [one, two] = [sampleVolume(content, 'one'), sampleVolume(content, 'two')];
    await helper.mountVolume({ volume: 'v1', ...whole(one) });
    const other = helper.mountVolume({ volume: 'v1', ...whole(two) });
    await expect(other).rejects.toMatchObject({ code: 'already_exists' });
    await helper.umountVolume('v1');
  });

  test('attaches a flat image to a loop device until it is told to detach it', async () => {
    await using helper = nativeHelper(socket);
    const sample = sampleVolume(content);
    const mountPoint = join(directory.path, 'mnt');
    mkdirSync(mountPoint);
    let device: string;
    {
      await using _ = await start();
      device = await helper.attachLoop(sample.meta);
      expect(await helper.attachLoop(sample.meta)).toBe(device);
    }
    await using _ = await start();
    expect(await helper.attachLoop(sample.meta)).toBe(device);
    expect(
      execFileSync('blkid', ['-p', '-s', 'TYPE', '-o', 'value', device], { encoding: 'utf8' }).trim(),
    ).toBe('erofs');
    await helper.detachLoop(sample.meta);
    await helper.detachLoop(sample.meta);
    await expect.poll(() => loopFilesBelow(directory.path)).toEqual([]);
  });

  test('serves one user only, and only its own protocol', async () => {
    await using _ = await start(65_534);
    await using helper = nativeHelper(socket);
    await expect(helper.volumes()).rejects.toMatchObject({ code: 'forbidden' });
    expect(statSync(socket).uid).toBe(65_534);
  });

  test('an ordinary user drives it from an unprivileged process', async () => {
    await using _ = await start(65_534);
    chmodSync(directory.path, 0o755);
    const sample = sampleVolume(content);
    chownSync(content, 65_534, 65_534);
    const request = JSON.stringify({
      id: 1,
      verb: 'volume.mount',
      params: {
        volume: 'v1',
        meta: hexOf(sample.meta),
        devices: whole(sample).devices.map(({ digest, ...device }) => ({ id: hexOf(digest), ...device })),
        blockBytes: 4096,
      },
    });
    // perl is in every Debian; it speaks the protocol by hand, as uid 65534.
    const script = `use Socket; $< = $> = 65534; socket(my $s, PF_UNIX, SOCK_STREAM, 0); connect($s, sockaddr_un($ARGV[0])) or die $!;
      $| = 1; for my $m ('{"version":2}', $ARGV[1]) { syswrite $s, pack('N', length $m) . $m; sysread $s, my $l, 4; sysread $s, my $b, unpack('N', $l); print "$b\\n"; }`;
    const output = execFileSync('perl', ['-e', script, socket, request], { encoding: 'utf8' });
    expect(JSON.parse(output.split('\n')[1] as string)).toMatchObject({ id: 1, result: { mounted: true } });
  });

  test('garbage and absurd lengths end that connection alone', async () => {
    await using _ = await start();
    for (const bytes of [
      Buffer.from([0xff, 0xff, 0xff, 0xff]),
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      Buffer.alloc(3),
    ]) {
      const client = connect(socket);
      client.end(bytes);
      client.resume();
      await once(client, 'close');
    }
    await using helper = nativeHelper(socket);
    expect(await helper.volumes()).toEqual([]);
  });

  test('says what this kernel can do', async () => {
    await using _ = await start();
    await using helper = nativeHelper(socket);
    expect(await helper.probe()).toMatchObject({
      erofs: { works: true },
      overlay: { works: true },
      backends: ['fanotify', 'fuse', 'local'],
    });
    expect(existsSync(nativeProgram())).toBe(true);
  });

  test('does with the least capabilities, and behind a filter of system calls', async () => {
    await using _ = await start();
    await using helper = nativeHelper(socket);
    await helper.volumes();
    const status = readFileSync(`/proc/${helper.workerPid}/status`, 'utf8');
    const mask = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1]}`);
    const bits = Array.from({ length: 64 }, (_, bit) => bit).filter((bit) => (mask >> BigInt(bit)) & 1n);
    // Source: include/uapi/linux/capability.h.
    expect(bits).toEqual([
      CAP_CHOWN,
      CAP_DAC_OVERRIDE,
      CAP_FOWNER,
      CAP_SETGID,
      CAP_SETUID,
      CAP_SYS_PTRACE,
      CAP_SYS_ADMIN,
    ]);
    expect(status).toMatch(/^Seccomp:\s*2$/m);
  });

  test('who starts a helper where another listens is told so, and gets none', async () => {
    await using first = await start();
    const other = { root: join(directory.path, 'other'), content, blobs, socket, uid: 1234 };
    const second = startHelper({ ...other, signal: AbortSignal.timeout(60_000) });
    await expect(second).rejects.toMatchObject({
      code: 'busy',
      hint: expect.stringContaining('native.socket'),
    });
    await using helper = nativeHelper(socket);
    await helper.volumes();
    expect(helper.pid).toBe(first.pid);
  });

  test('a helper that is kept comes again when it was killed, and ends when it is let go', async () => {
    const words: string[] = [];
    const options = { root, content, blobs, socket, uid: 0, signal: AbortSignal.timeout(60_000) };
    const pidOf = async () => {
      await using helper = nativeHelper(socket);
      return helper.volumes().then(
        () => helper.pid,
        () => null,
      );
    };
    {
      await using _ = await keepHelper(options, (text) => words.push(text));
      const first = await pidOf();
      process.kill(first ?? 0, 'SIGKILL');
      await expect.poll(pidOf, { timeout: 20_000 }).toSatisfy((pid) => pid !== null && pid !== first);
      expect(words).toHaveLength(1);
    }
    expect(await pidOf()).toBeNull();
  });

  test('a helper that does not come up in time is ended', async () => {
    await expect(
      startHelper({ root, content, blobs, socket, uid: 0, signal: AbortSignal.abort() }),
    ).rejects.toThrow('aborted');
    // It may have had the time to make its socket, but not to keep it.
    expect(await isAnswered(socket)).toBe(false);
    await using _ = await start();
  });

  test('two helpers never share a root', async () => {
    await using _ = await start();
    const other = startHelper({
      root,
      content,
      blobs,
      socket: `${socket}2`,
      uid: 0,
      signal: AbortSignal.timeout(20_000),
    });
    await expect(other).rejects.toMatchObject({ message: expect.stringContaining('already uses') });
  });

  describe('that is to wait', () => {
    const line = () => [
      ...['--root', root, '--content', content, '--blobs', blobs, '--socket', socket, '--uid', '0', '--wait'],
    ];
    const begin = () => spawn(nativeProgram(), line(), { stdio: 'ignore' });
    const isUp = () => isAnswered(socket);

    test('comes up when the one before has ended', async () => {
      const first = await start();
      const next = begin();
      await first[Symbol.asyncDispose]();
      await expect.poll(isUp, { timeout: 20_000 }).toBe(true);
      next.kill('SIGTERM');
      expect((await once(next, 'exit'))[0]).toBe(0);
    });

    test('ends when it is told to meanwhile', async () => {
      await using _ = await start();
      const next = begin();
      next.kill('SIGTERM');
      await once(next, 'exit');
      expect(await isUp()).toBe(true);
    });
  });
});

test('a helper that is not there is said to be, with what to do', async () => {
  await using helper = nativeHelper(join(directory.path, 'nothing.sock'));
  await expect(helper.volumes()).rejects.toMatchObject({
    code: 'unavailable',
    hint: expect.stringContaining('drakkar up'),
  });
});
