import { describe, expect, test } from 'vitest';
import { hostsDirectoriesOf } from '../../src/configure/hosts-toml.ts';
import { parseToml } from '../../src/configure/toml-edit.ts';
import { type ContainerdFacts, containerdChecks, hostsOf } from '../../src/doctor/containerd-checks.ts';

const MIRROR = 'http://127.0.0.1:4001';
const SOCKET = '/run/drakkar/snapshotter.sock';
const CONFIGURED = `version = 2
[proxy_plugins.drakkar]
type = "snapshot"
address = "${SOCKET}"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "drakkar"
disable_snapshot_annotations = false
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "/etc/containerd/certs.d"
`;

function verdicts(text: string, facts: Partial<ContainerdFacts> = {}) {
  const checks = containerdChecks({
    version: { major: 1, minor: 6 },
    path: 'config.toml',
    document: parseToml(text, 'config.toml'),
    offer: { mirrorUrl: MIRROR, snapshotterSocket: SOCKET },
    isSocketAnswered: true,
    defaultHosts: parseToml(`[host."${MIRROR}"]\n`, 'hosts.toml'),
    ...facts,
  });
  for (const { verdict, remedy } of checks) if (verdict !== 'ok') expect(remedy).toBeTruthy();
  return Object.fromEntries(checks.map(({ name, verdict }) => [name, verdict]));
}

describe('the doctor of containerd', () => {
  test('is content with what was configured', () => {
    expect(verdicts(CONFIGURED)).toEqual({ snapshotter: 'ok', annotations: 'ok', mirror: 'ok' });
  });

  test('says that nothing was', () => {
    expect(verdicts('version = 2\n')).toEqual({ snapshotter: 'warning', mirror: 'warning' });
  });

  test('says that the snapshotter can’t be had, or is not told what it must know', () => {
    expect(verdicts(CONFIGURED, { isSocketAnswered: false }).snapshotter).toBe('failure');
    expect(verdicts(CONFIGURED.replace('/run/', '/else/')).snapshotter).toBe('failure');
    expect(verdicts(CONFIGURED.replace('annotations = false', 'annotations = true')).annotations).toBe(
      'failure',
    );
    expect(verdicts(CONFIGURED, { version: { major: 2, minor: 4 } }).annotations).toBe('failure');
    const exported = `${CONFIGURED}[proxy_plugins.drakkar.exports]\nenable_remote_snapshot_annotations = "true"\n`;
    expect(verdicts(exported, { version: { major: 2, minor: 4 } }).annotations).toBe('ok');
  });

  test('says that the mirror is not asked', () => {
    expect(verdicts(CONFIGURED, { defaultHosts: undefined }).mirror).toBe('warning');
    expect(verdicts(CONFIGURED, { offer: { mirrorUrl: 'http://x', snapshotterSocket: SOCKET } }).mirror).toBe(
      'warning',
    );
  });

  test('knows whom containerd asks, and where it looks that up', () => {
    expect(hostsDirectoriesOf('r:5000')).toEqual(['r_5000_', 'r:5000', '_default']);
    expect(hostsDirectoriesOf('ghcr.io')).toEqual(['ghcr.io', '_default']);
    const hosts = parseToml(`[host."${MIRROR}"]\ncapabilities = ["pull"]\n[host."https://near"]\n`, 'h');
    expect(
      hostsOf(hosts, 'ghcr.io').map(({ url, resolves, isRegistry }) => [url, resolves, isRegistry]),
    ).toEqual([
      [MIRROR, false, false],
      ['https://near', true, false],
      ['https://ghcr.io', true, true],
    ]);
  });
});
