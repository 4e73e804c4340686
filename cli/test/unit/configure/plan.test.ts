import { describe, expect, test } from 'vitest';
import { hostsTomlWith } from '../../../src/configure/hosts-toml.ts';
import {
  type ConfigurationWish,
  formatOf,
  parseContainerdVersion,
  requireSound,
  wantedIn,
} from '../../../src/configure/plan.ts';
import { editToml, parseToml, revertToml } from '../../../src/configure/toml-edit.ts';

const OLD = { major: 1, minor: 6 };
const NEW = { major: 2, minor: 4 };
const wish = {
  snapshotterSocket: '/run/s.sock',
  runtime: undefined,
  imagesDirectory: '/var/lib/d',
  hostsDirectory: '/etc/certs.d',
  platform: 'linux/amd64',
  canMapIds: true,
  record: '',
};
const failing = (code: string) => expect.objectContaining({ code });

function configured(text: string, version: typeof OLD, more: Partial<ConfigurationWish> = {}) {
  const wanted = wantedIn(parseToml(text, 'c'), version, { ...wish, ...more }, 'c');
  return parseToml(editToml(text, wanted, 'c').text, 'c');
}

describe('what containerd is told', () => {
  test('in each format, at its own place', () => {
    expect(configured('', OLD)).toMatchObject({
      plugins: { cri: { containerd: { snapshotter: 'drakkar' }, registry: { config_path: '/etc/certs.d' } } },
    });
    expect(configured('version = 2\n', OLD)).toMatchObject({
      proxy_plugins: { drakkar: { type: 'snapshot', address: '/run/s.sock' } },
      plugins: {
        'io.containerd.grpc.v1.cri': {
          containerd: { snapshotter: 'drakkar', disable_snapshot_annotations: false },
          registry: { config_path: '/etc/certs.d' },
        },
      },
    });
    const { plugins, proxy_plugins } = configured('version = 3\n', NEW);
    expect(plugins).toMatchObject({
      'io.containerd.cri.v1.images': { snapshotter: 'drakkar', registry: { config_path: '/etc/certs.d' } },
      'io.containerd.transfer.v1.local': {
        unpack_config: [
          { platform: 'linux/amd64', snapshotter: 'overlayfs' },
          { platform: 'linux(+erofs)/amd64', snapshotter: 'erofs', optional: true },
          { platform: 'linux/amd64', snapshotter: 'drakkar' },
        ],
      },
    });
    expect(proxy_plugins).toMatchObject({
      drakkar: { exports: { root: '/var/lib/d', enable_remote_snapshot_annotations: 'true' } },
    });
  });

  test('what the snapshotter can do, where that version asks for it', () => {
    const of = (version: typeof OLD) =>
      (configured('version = 2\n', version).proxy_plugins as { drakkar: { capabilities?: string[] } }).drakkar
        .capabilities;
    expect(of(OLD)).toBeUndefined();
    expect(of({ major: 2, minor: 2 })).toEqual(['remap-ids']);
    expect(of(NEW)).toEqual(['remap-ids', 'rebase']);
  });

  test('to unpack as it did for others, unless it was told otherwise', () => {
    const of = (text: string, version = NEW) => {
      const { plugins } = configured(text, version) as {
        plugins: Record<string, { unpack_config?: { snapshotter: string }[] }>;
      };
      return plugins['io.containerd.transfer.v1.local']?.unpack_config?.map(({ snapshotter }) => snapshotter);
    };
    expect(of('version = 3\n', { major: 2, minor: 2 })).toEqual(['overlayfs', 'drakkar']);
    const own =
      'version = 3\n[[plugins."io.containerd.transfer.v1.local".unpack_config]]\n  snapshotter = "mine"\n';
    expect(of(own)).toEqual(['mine', 'drakkar']);
  });

  test('of a runtime that alone has the snapshotter, and is as the usual one otherwise', () => {
    const usual = (plugin: string) => `
[plugins."${plugin}".containerd]
  snapshotter = "overlayfs"
  default_runtime_name = "usual"
  [plugins."${plugin}".containerd.runtimes.usual]
    runtime_type = "io.containerd.runc.v2"
    snapshotter = "native"
    [plugins."${plugin}".containerd.runtimes.usual.options]
      BinaryName = "/opt/runc"
      SystemdCgroup = true
`;
    const runtime = {
      runtime_type: 'io.containerd.runc.v2',
      snapshotter: 'drakkar',
      options: { BinaryName: '/opt/runc', SystemdCgroup: true },
    };
    const wanted = { runtime: 'lazy' };
    const newest = 'io.containerd.cri.v1.runtime';
    expect(configured(`version = 3${usual(newest)}`, NEW, wanted).plugins).toMatchObject({
      [newest]: { containerd: { snapshotter: 'overlayfs', runtimes: { lazy: runtime } } },
    });
    const older = 'io.containerd.grpc.v1.cri';
    expect(configured(`version = 2${usual(older)}`, { major: 1, minor: 7 }, wanted).plugins).toMatchObject({
      [older]: { containerd: { snapshotter: 'overlayfs', runtimes: { lazy: runtime } } },
    });
    const bare = configured('version = 3\n', NEW, wanted).plugins as Record<string, { snapshotter?: string }>;
    expect(bare[newest]).toEqual({
      containerd: { runtimes: { lazy: { runtime_type: 'io.containerd.runc.v2', snapshotter: 'drakkar' } } },
    });
    expect(bare['io.containerd.cri.v1.images']?.snapshotter).toBeUndefined();
    expect(() => configured('version = 2\n', OLD, wanted)).toThrow(failing('unsupported'));
  });

  test('of a runtime by another name than the usual one, and of none that is somebody else’s', () => {
    expect(() => configured('version = 3\n', NEW, { runtime: 'runc' })).toThrow(failing('invalid_argument'));
    const other =
      '[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.lazy]\n  snapshotter = "other"\n';
    expect(() => configured(`version = 3\n${other}`, NEW, { runtime: 'lazy' })).toThrow(
      failing('already_exists'),
    );
  });

  describe('and of what was set for a runtime, once somebody has changed it,', () => {
    const USUAL =
      'version = 3\n[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]\n  runtime_type = "io.containerd.runc.v2"\n  sandboxer = "podsandbox"\n  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]\n    SystemdCgroup = false\n';
    const edit = (text: string) => {
      const wanted = wantedIn(parseToml(text, 'c'), NEW, { ...wish, runtime: 'lazy' }, 'c');
      return editToml(text, wanted, 'c');
    };
    const undone = (change: (text: string) => string) => {
      const { text, changes } = edit(USUAL);
      return revertToml(change(text), changes);
    };

    test('that stays as it is when it is set again', () => {
      const changed = edit(USUAL).text.replace(/(lazy\][^[]*)podsandbox/, '$1shim');
      expect(changed).toContain('shim');
      expect(edit(changed).text).toBe(changed);
    });

    test.each([
      ['an option', (text: string) => text.replace(/(lazy\.options\][^[]*)false/, '$1true')],
      ['a setting', (text: string) => text.replace(/(lazy\][^[]*)podsandbox/, '$1shim')],
      [
        'an entry of what is unpacked',
        (text: string) => text.replace('differ = "walking"', 'differ = "other"'),
      ],
      ['a key more', (text: string) => `${text}  more = true\n`],
    ])('all goes with it: %s', (_, change) => {
      const { text, changes } = undone(change);
      expect(changes).toEqual([]);
      expect(text).toBe(USUAL);
    });

    test('words that somebody has written stay', () => {
      expect(undone((text) => `${text}# site: our own words\n`).text).toBe(`${USUAL}# site: our own words\n`);
    });

    test('nothing is left that names a snapshotter which goes', () => {
      const { text } = undone((before) =>
        before.replace('[proxy_plugins.drakkar]', '[proxy_plugins.drakkar] #'),
      );
      expect(() => requireSound(parseToml(text, 'c'), 'c')).not.toThrow();
      const left = `${USUAL}[plugins."io.containerd.cri.v1.images"]\n  snapshotter = "drakkar" # mine\n`;
      expect(() => requireSound(parseToml(left, 'c'), 'c')).toThrow(failing('unsupported'));
    });
  });

  test('the same in the format of 2.4', () => {
    expect(configured('version = 4\n', NEW)).toEqual({ ...configured('version = 3\n', NEW), version: 4 });
  });

  test('nothing that would switch the transfer service off', () => {
    expect(JSON.stringify(configured('version = 2\n', NEW))).not.toContain('disable_snapshot_annotations');
  });

  test.each([
    ['[proxy_plugins.drakkar]\naddress = "/else"\n', 'already_exists'],
    [
      'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\nendpoint = []\n',
      'unsupported',
    ],
    ['version = 9\n', 'unsupported'],
    ['version = "2"\n', 'unsupported'],
  ])('nothing where it contradicts what stands there: %j', (text, code) => {
    expect(() => configured(text, OLD)).toThrow(failing(code));
  });

  test('the daemon’s new address where the old one was ours', () => {
    const document = parseToml('[proxy_plugins.drakkar]\naddress = "/old.sock"\n', 'c');
    const record = JSON.stringify({ changes: ['  address = "/old.sock"'] });
    expect(wantedIn(document, OLD, { ...wish, record }, 'c').settings).toContainEqual(
      expect.objectContaining({ key: 'address', value: '/run/s.sock' }),
    );
  });

  test('by versions that are known', () => {
    expect(
      parseContainerdVersion('containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1'),
    ).toEqual({
      major: 1,
      minor: 6,
    });
    expect(parseContainerdVersion('containerd github.com/containerd/containerd/v2 v2.4.2 abc').major).toBe(2);
    expect(() => parseContainerdVersion('containerd 1.5.9')).toThrow(failing('unsupported'));
    expect(() => parseContainerdVersion('no such thing')).toThrow(failing('unsupported'));
    expect(formatOf({}, 'c')).toBe(1);
  });
});

describe('a hosts.toml', () => {
  const MIRROR = 'http://127.0.0.1:4001';
  const hostsOf = (text: string) => Object.keys(parseToml(text, 'h').host ?? {});

  test('names the mirror, and the registry itself as the last resort', () => {
    const { text } = hostsTomlWith(MIRROR, 'ghcr.io', undefined, 'h');
    expect(parseToml(text, 'h')).toEqual({
      server: 'https://ghcr.io',
      host: { [MIRROR]: { capabilities: ['pull', 'resolve'] } },
    });
    expect(hostsTomlWith(MIRROR, 'docker.io', undefined, 'h').text).toContain('https://registry-1.docker.io');
    expect(hostsTomlWith(MIRROR, '127.0.0.1:5000', undefined, 'h').text).toContain('http://127.0.0.1:5000');
    expect(hostsTomlWith(MIRROR, '_default', undefined, 'h').text).not.toContain('server');
  });

  test('keeps what it said, behind the mirror', () => {
    const before = '# ours\nserver = "https://x"\n\n[host."https://near"]\n  skip_verify = true # for now\n';
    const { text } = hostsTomlWith(MIRROR, 'x', before, 'h');
    expect(hostsOf(text)).toEqual([MIRROR, 'https://near']);
    expect(text).toContain('# ours\nserver = "https://x"\n');
    expect(text).toContain('skip_verify = true # for now\n');
    expect(hostsTomlWith(MIRROR, 'x', text, 'h')).toEqual({ text, changes: [] });
  });

  test('names the mirror once, wherever it was before', () => {
    for (const end of ['\n', '\r\n']) {
      const before = '[host."https://near"]\n'.replaceAll('\n', end);
      const once = hostsTomlWith('http://127.0.0.1:9', 'x', before, 'h').text;
      const { text } = hostsTomlWith(MIRROR, 'x', once, 'h');
      expect(hostsOf(text)).toEqual([MIRROR, 'https://near']);
      expect(text.replaceAll('\r\n', '').includes('\n')).toBe(end === '\n');
    }
  });

  test('is left alone where it is not understood', () => {
    const before = 'host = { "https://near" = { skip_verify = true } }\n';
    expect(() => hostsTomlWith(MIRROR, 'x', before, 'h')).toThrow(failing('unsupported'));
  });
});
