import fc from 'fast-check';
import { parse } from 'smol-toml';
import { describe, expect, test } from 'vitest';
import { editToml, revertToml, type Wanted } from '../../../src/configure/toml-edit.ts';

const CRI = ['plugins', 'io.containerd.grpc.v1.cri', 'containerd'];
const wanted: Wanted = {
  settings: [
    { table: CRI, key: 'snapshotter', value: 'drakkar' },
    { table: CRI, key: 'disable_snapshot_annotations', value: false },
    { table: ['proxy_plugins', 'drakkar'], key: 'type', value: 'snapshot' },
    { table: ['proxy_plugins', 'drakkar'], key: 'address', value: '/run/drakkar/snapshotter.sock' },
  ],
  entries: [
    {
      table: ['plugins', 'io.containerd.transfer.v1.local', 'unpack_config'],
      entry: { snapshotter: 'drakkar' },
    },
  ],
};

const CONFIG = `# of a cluster
version = 2 # as ever

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "pause:3.9"
    [plugins."io.containerd.grpc.v1.cri".containerd]
      snapshotter = "overlayfs" # the default
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
        runtime_type = "io.containerd.runc.v2"
`;

describe('a configuration in TOML', () => {
  test('says what is wanted afterwards, and everything else as before', () => {
    const { text } = editToml(CONFIG, wanted, 'config.toml');
    expect(text).toContain('# of a cluster\nversion = 2 # as ever\n');
    expect(text).toContain('      snapshotter = "drakkar" # the default\n');
    expect(parse(text)).toMatchObject({
      version: 2,
      proxy_plugins: { drakkar: { type: 'snapshot' } },
      plugins: {
        'io.containerd.grpc.v1.cri': {
          sandbox_image: 'pause:3.9',
          containerd: {
            snapshotter: 'drakkar',
            disable_snapshot_annotations: false,
            runtimes: { runc: { runtime_type: 'io.containerd.runc.v2' } },
          },
        },
        'io.containerd.transfer.v1.local': { unpack_config: [{ snapshotter: 'drakkar' }] },
      },
    });
  });

  test('is not changed where it says all of that already', () => {
    const { text } = editToml(CONFIG, wanted, 'config.toml');
    expect(editToml(text, wanted, 'config.toml')).toEqual({ text, changes: [] });
  });

  test.each([CONFIG, '', 'version = 2', CONFIG.trimEnd(), '\n\n[a]\nb = 1\n\n'])(
    'is undone to the byte: %j',
    (original) => {
      const { text, changes } = editToml(original, wanted, 'config.toml');
      const reverted = revertToml(text, changes);
      expect(reverted.changes).toEqual([]);
      expect(reverted.text.trimEnd()).toBe(original.trimEnd());
    },
  );

  test('is undone although others have changed it elsewhere', () => {
    const { text, changes } = editToml(CONFIG, wanted, 'config.toml');
    const theirs = text
      .replace('pause:3.9', 'pause:3.10')
      .replace('# of a cluster', '# of a cluster\n# and more');
    const { text: reverted } = revertToml(theirs, changes);
    expect(reverted).toBe(
      CONFIG.replace('pause:3.9', 'pause:3.10').replace('# of a cluster', '# of a cluster\n# and more'),
    );
  });

  test('keeps what others have made of what was set', () => {
    const { text, changes } = editToml(CONFIG, wanted, 'config.toml');
    const { text: reverted, changes: left } = revertToml(
      text.replace('snapshotter = "drakkar"', 'snapshotter = "zfs"'),
      changes,
    );
    expect(left).toHaveLength(1);
    expect(reverted).toContain('snapshotter = "zfs"');
  });

  test.each([
    'plugins = { "io.containerd.grpc.v1.cri" = { containerd = { snapshotter = "overlayfs" } } }\n',
    '[proxy_plugins]\ndrakkar.type = "content"\n',
    '[[proxy_plugins.drakkar]]\n',
    'a = """\n[proxy_plugins.drakkar]\n"""\n[proxy_plugins]\ndrakkar = { type = "x" }\n',
  ])('is refused where its shape is not understood: %j', (text) => {
    expect(() => editToml(text, wanted, 'config.toml')).toThrow(
      expect.objectContaining({ code: 'unsupported' }),
    );
  });

  test('is refused where it is none', () => {
    expect(() => editToml('a = ', wanted, 'config.toml')).toThrow(/config\.toml is not valid/);
  });

  test('is never changed otherwise than it should be, whatever it is', () => {
    const key = fc.constantFrom('a', 'b', 'snapshotter', '"x.y"', 'type');
    const value = fc.constantFrom('1', '"overlayfs"', '[ 1, 2 ]', '"""\n[a]\n"""', '{ a = 1 }', 'true');
    const header = fc.constantFrom(
      '[a]',
      '[proxy_plugins.drakkar]',
      '[plugins."io.containerd.grpc.v1.cri".containerd]',
      '[[c]]',
      '# [a]',
      '',
    );
    const line = fc.oneof(
      header,
      fc.tuple(key, value).map(([name, of]) => `${name} = ${of}`),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 12 }), (lines) => {
        const text = lines.join('\n');
        try {
          const { text: edited, changes } = editToml(text, wanted, 'config.toml');
          expect(parse(edited)).toMatchObject({ proxy_plugins: { drakkar: { type: 'snapshot' } } });
          expect(revertToml(edited, changes).text.trimEnd()).toBe(text.trimEnd());
        } catch (error) {
          expect((error as { code?: string }).code).toMatch(/^(unsupported|invalid_content)$/);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
