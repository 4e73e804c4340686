import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { temporaryDirectory } from '@drakkar/lab';
import { Tracing } from '@drakkar/service';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { serveSnapshotter } from '../../src/containerd/index.ts';

const isRoot = process.getuid?.() === 0;
const NOBODY = 65_534;
const failing = (code: string) => expect.objectContaining({ code, hint: expect.any(String) });
const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

describe('a snapshotter’s socket and records', () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  let socket: string;

  beforeEach(async () => {
    directory = await temporaryDirectory('snapshotter');
    socket = join(directory.path, 'snapshotter.sock');
  });
  afterEach(() => directory[Symbol.asyncDispose]());

  // Nothing is asked of either.
  const start = () =>
    serveSnapshotter(
      { socket, stateDirectory: directory.path, buildDelayMs: undefined },
      {
        native: {} as never,
        snapshots: {} as never,
        firstPull: async () => false,
        log,
        tracing: new Tracing(),
      },
    );

  test('are taken over from one that was killed, and not from one that answers', async () => {
    {
      await using _ = await start();
      await expect(start()).rejects.toThrow(failing('busy'));
    }
    const stale = createServer().listen(socket);
    await new Promise((resolve) => stale.once('listening', resolve));
    await expect(start()).rejects.toThrow(failing('busy'));
    await new Promise((resolve) => stale.close(resolve));
    await using _ = await start();
  });

  test('leave alone what is no socket', async () => {
    writeFileSync(socket, 'mine');
    await expect(start()).rejects.toThrow(failing('already_exists'));
    expect(readFileSync(socket, 'utf8')).toBe('mine');
    socket = join(directory.path, 'directory');
    mkdirSync(socket);
    await expect(start()).rejects.toThrow(failing('already_exists'));
  });

  test('are refused where a newer release has written them', async () => {
    using database = new DatabaseSync(join(directory.path, 'containerd.sqlite'));
    database.exec('PRAGMA user_version = 99');
    database.close();
    await expect(start()).rejects.toThrow(failing('unsupported'));
  });

  test.skipIf(!isRoot)('are for nobody but their own user and root (needs root)', async () => {
    await using _ = await start();
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    const script = `require('node:net').connect(${JSON.stringify(socket)}).once('error', (e) => console.log(e.code))`;
    const command = [
      '--reuid',
      `${NOBODY}`,
      '--regid',
      `${NOBODY}`,
      '--clear-groups',
      process.execPath,
      '-e',
      script,
    ];
    // The directory above is open to all, so that it is the socket that refuses.
    const { stdout } = await promisify(execFile)('sh', [
      '-c',
      'chmod 755 "$1"; shift; exec setpriv "$@"',
      'sh',
      directory.path,
      ...command,
    ]);
    expect(stdout.trim()).toBe('EACCES');
  });
});
