import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDirectory } from '@drakkar/lab';
import { describe, expect, test } from 'vitest';
import { PartFile, requireWritable } from '../../src/get/target.ts';

describe('a file in the making', () => {
  test('is one process’s alone, and its bytes another’s when that has ended', async () => {
    await using directory = await temporaryDirectory('target');
    const path = join(directory.path, 'model');
    {
      await using first = await PartFile.open(path);
      await first.take(Buffer.from('abc'));
      await expect(PartFile.open(path)).rejects.toMatchObject({
        code: 'busy',
        message: expect.stringContaining(`${path}.part is being written by another`),
        hint: expect.stringContaining('-o FILE'),
      });
      expect(readFileSync(`${path}.part`, 'utf8')).toBe('abc');
      await using range = await PartFile.open(path, '.range-part');
      await range.discard();
    }
    await using second = await PartFile.open(path);
    expect(second.bytes).toBe(3);
    await second.take(Buffer.from('def'));
    await second.finish();
    expect(readFileSync(path, 'utf8')).toBe('abcdef');
    // What has its name is nobody's part any more.
    await using next = await PartFile.open(path);
    expect(next.bytes).toBe(0);
    await next.discard();
    expect(readdirSync(directory.path)).toEqual(['model']);
  });

  test('is free again when its process was killed', async () => {
    await using directory = await temporaryDirectory('target');
    const path = join(directory.path, 'model');
    const module = join(import.meta.dirname, '../../src/get/target.ts');
    const script = `
      const { PartFile } = await import(${JSON.stringify(module)});
      const file = await PartFile.open(${JSON.stringify(path)});
      await file.take(Buffer.from('abc'));
      console.log('ready');
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const closed = once(child, 'close');
    await once(child.stdout, 'data');
    await expect(PartFile.open(path)).rejects.toMatchObject({ code: 'busy' });
    child.kill('SIGKILL');
    await closed;
    await using file = await PartFile.open(path);
    expect(file.bytes).toBe(3);
  });

  test('that somebody else takes away is said to be so', async () => {
    await using directory = await temporaryDirectory('target');
    const path = join(directory.path, 'model');
    await using file = await PartFile.open(path);
    rmSync(`${path}.part`);
    await expect(file.finish()).rejects.toMatchObject({
      code: 'busy',
      message: `something else has taken ${path}.part away`,
    });
    expect(existsSync(path)).toBe(false);
  });

  test('needs a name, and a place where files can be made', async () => {
    await expect(requireWritable('')).rejects.toMatchObject({ code: 'invalid_argument' });
    await requireWritable('/proc/model');
    await expect(PartFile.open('/proc/model')).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringMatching(/^\/proc\/model\.part can't be made/),
    });
  });
});
