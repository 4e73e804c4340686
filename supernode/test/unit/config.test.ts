import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { supernodeConfiguration } from '@drakkar/supernode';
import { expect, test } from 'vitest';
import { parse } from 'yaml';

test('the printed default is a valid configuration that changes nothing', () => {
  const { complete, defaultYaml } = supernodeConfiguration;
  expect(complete(parse(defaultYaml()))).toEqual(complete({}));
});

test('docs/supernode-configuration.md is what the schema says', async () => {
  const page = join(import.meta.dirname, '../../../docs/supernode-configuration.md');
  expect(await readFile(page, 'utf8')).toBe(supernodeConfiguration.document());
});

test('a port that is named twice is found', () => {
  const settings = (raw: unknown) => supernodeConfiguration.check(raw).findings.map(({ setting }) => setting);
  expect(settings({ port: 4401 })).toEqual(['metrics.port']);
  expect(settings({ port: 4401, address: '10.0.0.1' })).toEqual([]);
});

test('a daemon’s configuration is told from a supernode’s', () => {
  const daemons = {
    stateDirectory: '/var/lib/drakkar',
    mirror: { port: 5000 },
    store: { quotaBytes: '10GiB' },
    swarm: { supernode: 'a:1/P', joinToken: 't', labels: { rack: 'r1' } },
  };
  expect(() => supernodeConfiguration.complete(daemons)).toThrow(
    expect.objectContaining({
      hint: 'this looks like a daemon’s configuration; see docs/supernode-configuration.md, or `drakkar config default --supernode`',
    }),
  );
});

test('what is installed as its configuration is one, and its unit has that state directory', async () => {
  const deploy = join(import.meta.dirname, '../../../deploy');
  const { stateDirectory } = await supernodeConfiguration.load(join(deploy, 'supernode.yaml'));
  const unit = await readFile(join(deploy, 'systemd/drakkar-supernode.service'), 'utf8');
  const [, name] = /^StateDirectory=(.+)$/m.exec(unit) ?? [];
  expect(stateDirectory).toBe(`/var/lib/${name}`);
  expect(unit).toContain('--config /etc/drakkar/supernode.yaml supernode\n');
});

test.each(['base/supernode', 'overlays/redis'])('what deploy/kubernetes/%s mounts is one', async (of) => {
  const file = join(import.meta.dirname, '../../../deploy/kubernetes', of, 'supernode.yaml');
  const { stateDirectory, kubernetes } = await supernodeConfiguration.load(file);
  expect(stateDirectory).toBe('/var/lib/drakkar');
  expect(kubernetes).toMatchObject({ enabled: true, joinSecret: 'drakkar-join' });
});
