import { generateKeyPairSync } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { configuration, examineSurroundings } from '@drakkar/daemon';
import { temporaryDirectory } from '@drakkar/lab';
import { formatJoinToken, peerIdOf } from '@drakkar/protocol';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

test('the printed default is a valid configuration that changes nothing', () => {
  expect(configuration.complete(parse(configuration.defaultYaml()))).toEqual(configuration.complete({}));
});

test('docs/configuration.md is what the schema says', async () => {
  const document = await readFile(join(import.meta.dirname, '../../../../docs/configuration.md'), 'utf8');
  expect(document).toBe(configuration.document());
});

describe('a configuration file', () => {
  test.each([
    ['an unknown key', { mirrors: {} }, /mirrors: there is no such setting.*mirror/],
    ['a wrong type', { mirror: { port: 'high' } }, /mirror\.port/],
    ['a port out of range', { mirror: { port: 70_000 } }, /mirror\.port/],
    ['a relative state directory', { stateDirectory: 'here' }, /stateDirectory.*absolute/],
    ['no state directory', { stateDirectory: '' }, /stateDirectory.*absolute/],
    ['a state directory that sockets can’t be in', { stateDirectory: `/${'d'.repeat(100)}` }, /too long/],
    ['a socket with too long a path', { native: { socket: `/${'s'.repeat(107)}` } }, /native\.socket.*107/],
    ['an address that is none', { mirror: { address: 'not an address' } }, /mirror\.address/],
    ['a size that is none', { store: { quotaBytes: '10 parsecs' } }, /store\.quotaBytes.*10GiB/],
    ['a store that holds nothing', { store: { quotaBytes: 0 } }, /store\.quotaBytes.*1MiB/],
    ['no room for what is asked for', { swarm: { inFlightBytes: 0 } }, /swarm\.inFlightBytes.*1MiB/],
    ['no memory', { swarm: { memoryBytes: '10k' } }, /swarm\.memoryBytes.*1MiB/],
    ['a registry without a name', { mirror: { defaultRegistry: '' } }, /mirror\.defaultRegistry.*host/],
    ['credentials in no file', { registries: { dockerConfigFile: '' } }, /dockerConfigFile: is empty.*null/],
    ['a host without a name', { swarm: { name: ' ' } }, /swarm\.name: is empty.*null/],
    ['a port to advertise', { swarm: { advertise: 'here:4403' } }, /swarm\.advertise.*without a port/],
    ['nothing to advertise', { swarm: { advertise: '' } }, /swarm\.advertise.*host name/],
    ['a block that EROFS can’t address', { snapshots: { blockBytes: 5000 } }, /snapshots\.blockBytes/],
    ['a key that is none', { snapshots: { trustedBuilders: ['me'] } }, /trustedBuilders\.0.*public key/],
    [
      'a credential without a secret',
      { registries: { credentials: [{ registry: 'ghcr.io', username: 'me' }] } },
      /credentials\.0.*passwordFile/,
    ],
  ])('with %s is refused by its path', (_, raw, words) => {
    expect(() => configuration.complete(raw)).toThrow(
      expect.objectContaining({ code: 'invalid_argument', message: expect.stringMatching(words) }),
    );
  });

  test.each([
    [1000, 1000],
    ['2 GiB', 2 * 1024 ** 3],
    ['1.5MB', 1_500_000],
    ['10k', 10_000],
  ])('understands %j as a size', (maxRawBytes, bytes) => {
    expect(configuration.complete({ snapshots: { maxRawBytes } }).snapshots.maxRawBytes).toBe(bytes);
  });

  test('may be absent only where nobody named it', async () => {
    await using directory = await temporaryDirectory('config');
    const missing = join(directory.path, 'missing.yaml');
    await expect(configuration.load(missing)).rejects.toMatchObject({ code: 'not_found' });
    const broken = join(directory.path, 'broken.yaml');
    await writeFile(broken, 'mirror: [');
    await expect(configuration.load(broken)).rejects.toMatchObject({
      code: 'invalid_argument',
      message: expect.stringContaining(broken),
    });
    const empty = join(directory.path, 'empty.yaml');
    await writeFile(empty, '');
    expect(await configuration.load(empty)).toEqual(configuration.complete({}));
  });

  test('does not expand aliases without end', async () => {
    await using directory = await temporaryDirectory('config');
    const bomb = join(directory.path, 'bomb.yaml');
    await writeFile(bomb, 'a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n');
    await expect(configuration.load(bomb)).rejects.toMatchObject({ code: 'invalid_argument' });
  });
});

describe('settings that are right one by one', () => {
  const findings = (raw: unknown) =>
    configuration.check(raw).findings.map(({ setting, severity }) => `${severity} ${setting}`);
  const supernode = `10.0.0.5:4400/${peerIdOf(generateKeyPairSync('ed25519').publicKey)}`;
  const joinToken = formatJoinToken({
    clusterKey: peerIdOf(generateKeyPairSync('ed25519').publicKey),
    secret: 's'.repeat(32),
  });

  test.each([
    ['one port twice', { mirror: { port: 4404 } }, ['problem metrics.port']],
    ['ports of a swarm that is off', { swarm: { controlPort: 4403 } }, []],
    ['ports of a swarm', { swarm: { supernode, controlPort: 4403 } }, ['problem swarm.dataPort']],
    ['metrics that are off', { mirror: { port: 4404 }, metrics: { port: null } }, []],
    [
      'two places of supernodes',
      { swarm: { supernode, supernodeFile: '/s' } },
      ['problem swarm.supernodeFile'],
    ],
    ['two tokens', { swarm: { joinToken, joinTokenFile: '/t' } }, ['problem swarm.joinTokenFile']],
    [
      'a label that is mistyped',
      { swarm: { labels: { rak: 'a', site: 'b' } } },
      ['warning swarm.labels.rak'],
    ],
  ])('are seen together: %s', (_, raw, expected) => {
    expect(findings(raw)).toEqual(expected);
  });

  test('need what they name: a token or a membership, and files that can be read', async () => {
    await using directory = await temporaryDirectory('config');
    const { path: stateDirectory } = directory;
    const missing = join(stateDirectory, 'missing');
    const tokenFile = join(stateDirectory, 'token');
    const around = async (raw: object) =>
      (await examineSurroundings(configuration.complete({ stateDirectory, ...raw }))).map(
        ({ setting, severity }) => `${severity} ${setting}`,
      );
    expect(await around({})).toEqual([]);
    expect(await around({ swarm: { supernode } })).toEqual(['problem swarm.joinToken']);
    expect(await around({ swarm: { supernode, joinToken } })).toEqual([]);
    expect(await around({ swarm: { supernode, joinTokenFile: missing } })).toEqual([
      'problem swarm.joinTokenFile',
    ]);
    const supernodeFile = join(stateDirectory, 'supernodes');
    for (const text of [undefined, '', 'somewhere:4400\n', `${supernode}\nelsewhere`]) {
      if (text !== undefined) await writeFile(supernodeFile, text);
      expect(await around({ swarm: { supernodeFile, joinToken } })).toEqual(['problem swarm.supernodeFile']);
    }
    await writeFile(supernodeFile, `${supernode}\n${supernode}\n`);
    expect(await around({ swarm: { supernodeFile, joinToken } })).toEqual([]);
    expect(await around({ swarm: { supernodeFile } })).toEqual(['problem swarm.joinToken']);
    await writeFile(tokenFile, 'something else\n');
    expect(await around({ swarm: { supernode, joinTokenFile: tokenFile } })).toEqual([
      'problem swarm.joinTokenFile',
    ]);
    await writeFile(tokenFile, `${joinToken}\n`);
    expect(await around({ swarm: { supernode, joinTokenFile: tokenFile } })).toEqual([]);
    await writeFile(
      join(stateDirectory, 'swarm.json'),
      JSON.stringify({
        clusterKeys: [peerIdOf(generateKeyPairSync('ed25519').publicKey)],
        membership: 'm',
        revoked: [],
      }),
    );
    expect(await around({ swarm: { supernode } })).toEqual([]);
    const credentials = [{ registry: 'ghcr.io', username: 'me', passwordFile: missing }];
    expect(await around({ registries: { caFiles: [missing], credentials } })).toEqual([
      'problem registries.credentials.0.passwordFile',
      'problem registries.caFiles.0',
    ]);
  });
});

test('what its pods have as its configuration is one, with the places that they mount', async () => {
  const base = join(import.meta.dirname, '../../../../deploy/kubernetes/base/daemon');
  const { stateDirectory, native, containerd, swarm } = await configuration.load(join(base, 'config.yaml'));
  const pods = await readFile(join(base, 'daemon-set.yaml'), 'utf8');
  const files = [native.socket, containerd.snapshotterSocket, swarm.joinTokenFile];
  for (const place of [stateDirectory, ...files.map((path) => dirname(path ?? ''))])
    expect(pods).toContain(`mountPath: ${place}`);
});
