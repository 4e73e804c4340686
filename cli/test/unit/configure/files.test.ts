import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { applyPlan, readConfiguration, undoPlan } from '../../../src/configure/files.ts';
import { editToml } from '../../../src/configure/toml-edit.ts';

let directory: string;
let path: string;
let record: string;
const failing = (code: string) => expect.objectContaining({ code });
const ORIGINAL = 'version = 2\r\n[a] # mine';

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'drakkar-configure-'));
  path = join(directory, 'config.toml');
  record = `${path}.drakkar.json`;
});
afterEach(() => rmSync(directory, { recursive: true }));

async function set(key: string): Promise<void> {
  const before = await readConfiguration(path);
  const wanted = { settings: [{ table: ['a'], key, value: 1 }], entries: [] };
  const { text, changes } = editToml(before ?? '', wanted, path);
  await applyPlan([{ path, before, after: text, changes }], record);
}

describe('files that are configured', () => {
  test('are as they were after an undo, to the byte, however often they were configured', async () => {
    writeFileSync(path, ORIGINAL);
    await set('one');
    await set('two');
    expect(readFileSync(path, 'utf8')).toContain('two = 1');
    expect(await undoPlan(record)).toEqual([{ path, outcome: 'restored' }]);
    expect(readFileSync(path, 'utf8')).toBe(ORIGINAL);
    expect(await undoPlan(record)).toEqual([]);
  });

  test('are gone after an undo where there were none', async () => {
    mkdirSync(join(directory, 'theirs'));
    for (const parts of [
      ['certs.d', 'host'],
      ['certs.d', 'other'],
      ['theirs', 'host'],
    ]) {
      path = join(directory, ...parts, 'hosts.toml');
      await set('one');
    }
    const undone = await undoPlan(record);
    expect(undone.map(({ outcome }) => outcome)).toEqual(['removed', 'removed', 'removed']);
    expect(readdirSync(directory, { recursive: true })).toEqual(['theirs']);
  });

  test('keep what others have made of them since', async () => {
    writeFileSync(path, '[a]\nb = 1\n');
    await set('one');
    writeFileSync(path, readFileSync(path, 'utf8').replace('b = 1', 'b = 2 # theirs'));
    expect(await undoPlan(record)).toEqual([{ path, outcome: 'reverted' }]);
    expect(readFileSync(path, 'utf8')).toBe('[a]\nb = 2 # theirs\n');
  });

  test('keep what others have made of them between two configurations', async () => {
    writeFileSync(path, '[a]\nb = 1\n');
    await set('one');
    writeFileSync(path, readFileSync(path, 'utf8').replace('b = 1', 'b = 2 # theirs'));
    await set('two');
    expect(await undoPlan(record)).toEqual([{ path, outcome: 'reverted' }]);
    expect(readFileSync(path, 'utf8')).toBe('[a]\nb = 2 # theirs\n');
  });

  test('are not lost where some of what was set can’t be taken back, and are nobody else’s to read', async () => {
    writeFileSync(path, '[a]\nb = 1\n');
    await set('one');
    await set('two');
    expect(statSync(record).mode & 0o777).toBe(0o600);
    writeFileSync(path, readFileSync(path, 'utf8').replace('one = 1', 'one = 3'));
    expect(await undoPlan(record)).toEqual([{ path, outcome: 'partly' }]);
    expect(readFileSync(path, 'utf8')).toContain('one = 3');
    expect(readFileSync(`${record}.undone`, 'utf8')).toContain(
      Buffer.from('[a]\nb = 1\n').toString('base64'),
    );
  });

  test('are left alone where they are links or directories, or their record is damaged', async () => {
    symlinkSync('/dev/null', path);
    await expect(set('one')).rejects.toThrow(failing('unsupported'));
    rmSync(path);
    mkdirSync(path);
    await expect(set('one')).rejects.toThrow(failing('unsupported'));
    writeFileSync(record, '{"version":1}');
    await expect(undoPlan(record)).rejects.toThrow(failing('invalid_content'));
  });

  test('lose what was set line by line where somebody has written between, and keep theirs where it stands', async () => {
    const original = '[a]\nx = 1\n';
    const block = ['# Ours.', '[b]', '  one = 1', '  two = 2', '[[c]]', '  k = "v"'];
    const configure = async () => {
      writeFileSync(path, original);
      const after = `${original}${block.join('\n')}\n`;
      await applyPlan(
        [{ path, before: original, after, changes: [{ kind: 'lines', lines: block }] }],
        record,
      );
      return after;
    };
    const undone = async (change: (text: string) => string) => {
      writeFileSync(path, change(await configure()));
      const [outcome] = await undoPlan(record);
      return [outcome?.outcome, readFileSync(path, 'utf8')];
    };
    expect(await undone((text) => text.replace('  two', '  theirs = true\n  two'))).toEqual([
      'reverted',
      `${original}[b]\n  theirs = true\n`,
    ]);
    // One of an array goes as a whole, or not at all.
    expect(await undone((text) => `${text}  theirs = 1\n`)).toEqual(['reverted', original]);
    expect(await undone((text) => text.replace('k = "v"', 'k = "w"'))).toEqual([
      'partly',
      `${original}[[c]]\n  k = "w"\n`,
    ]);
    expect(await undone((text) => text.replace('# Ours.\n', '').replace('  one', '\tone'))).toEqual([
      'reverted',
      original,
    ]);
    expect(await undone((text) => text.replace('two = 2', 'two = 3'))).toEqual([
      'partly',
      `${original}[b]\n  two = 3\n`,
    ]);
  });

  test('keep the ends of their lines', async () => {
    writeFileSync(path, '[a]\r\nb = 1 # mine\r\n');
    await set('one');
    expect(readFileSync(path, 'utf8')).toBe('[a]\r\n  one = 1\r\nb = 1 # mine\r\n');
    writeFileSync(path, readFileSync(path, 'utf8').replace('b = 1', 'b = 2'));
    expect(await undoPlan(record)).toEqual([{ path, outcome: 'reverted' }]);
    expect(readFileSync(path, 'utf8')).toBe('[a]\r\nb = 2 # mine\r\n');
  });

  test('stay as they are while an undo is only tried', async () => {
    writeFileSync(path, ORIGINAL);
    await set('one');
    const configured = readFileSync(path, 'utf8');
    expect(await undoPlan(record, true)).toEqual([{ path, outcome: 'restored' }]);
    expect(readFileSync(path, 'utf8')).toBe(configured);
    expect(await undoPlan(record)).toEqual([{ path, outcome: 'restored' }]);
  });
});
