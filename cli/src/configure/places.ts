import { join } from 'node:path';
import { isThere } from './files.ts';
import { CONTAINERD_CONFIG_PATH, type ContainerdVersion } from './plan.ts';

/** Where a containerd has what is configured. */
export interface Place {
  /** `containerd`, or the distribution of Kubernetes that has one of its own. */
  readonly name: string;
  /** Made anew by the distribution whenever it starts; a template beside it is what it makes it from. */
  readonly generated: string | undefined;
  readonly config: string;
  readonly program: string;
  readonly socket: string;
  /** Of systemd: the first that is active is restarted. */
  readonly units: readonly string[];
}

const STOCK: Place = {
  name: 'containerd',
  generated: undefined,
  config: CONTAINERD_CONFIG_PATH,
  program: 'containerd',
  socket: '/run/containerd/containerd.sock',
  units: ['containerd'],
};

/** Of either. */
const RANCHER_SOCKET = '/run/k3s/containerd/containerd.sock';

/** Source: docs.k3s.io/advanced, docs.rke2.io/advanced. */
const RANCHER = {
  k3s: { program: 'data/current/bin/containerd', units: ['k3s', 'k3s-agent'] },
  rke2: { program: 'bin/containerd', units: ['rke2-server', 'rke2-agent'] },
} as const;

/**
 * The containerd of this host: the stock one where there is none of a distribution.
 *
 * @param root of the file system that is looked at
 */
export async function findPlace(root = '/'): Promise<Place> {
  if (await isThere(join(root, CONTAINERD_CONFIG_PATH))) return STOCK;
  for (const [name, { program, units }] of Object.entries(RANCHER)) {
    const home = join(root, 'var/lib/rancher', name);
    const generated = join(home, 'agent/etc/containerd/config.toml');
    if (!(await isThere(generated))) continue;
    return {
      name,
      generated,
      config: `${generated}.tmpl`,
      program: join(home, program),
      socket: RANCHER_SOCKET,
      units,
    };
  }
  return STOCK;
}

/** The template that a distribution takes for a version of containerd: that of 2 has another format. */
export const templateOf = (generated: string, { major }: ContainerdVersion): string =>
  major >= 2 ? generated.replace(/config\.toml$/, 'config-v3.toml.tmpl') : `${generated}.tmpl`;
