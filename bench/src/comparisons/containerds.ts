import { join } from 'node:path';
import { buildContainerd2, type Containerd, startContainerd, writePlainHosts } from '@drakkar/lab';
import { ctrRun } from '../runner/containerd.ts';
import { firstOutput } from '../runner/first-output.ts';
import type { Host, Prepared, Site } from './contender.ts';

/** A containerd 2 on each host, which unpacks with overlayfs. They end with the stack. */
export async function startContainerds(
  { hosts, directory }: Site,
  stack: AsyncDisposableStack,
): Promise<ReadonlyMap<Host, Containerd>> {
  const programs = await buildContainerd2();
  const started = await Promise.all(
    hosts.map(async (host) => {
      const hostsDirectory = hostsDirectoryOf(directory, host);
      const containerd = await startContainerd({ programs, hostsDirectory, within: host.place.within });
      stack.use(containerd);
      return [host, containerd] as const;
    }),
  );
  return new Map(started);
}

/** Has each containerd ask a mirror first, and the registry where that has not what it wants. @param mirrorUrlOf the registry alone where it gives none */
export async function pulledBy(
  { hosts, registry, directory }: Site,
  containerds: ReadonlyMap<Host, Containerd>,
  mirrorUrlOf: (host: Host) => string | undefined = () => undefined,
): Promise<Required<Omit<Prepared, keyof AsyncDisposable>>> {
  for (const host of hosts)
    await writePlainHosts(hostsDirectoryOf(directory, host), registry.host, mirrorUrlOf(host));
  const of = (host: Host): Containerd => {
    const found = containerds.get(host);
    if (found === undefined) throw new Error('a host of another site');
    return found;
  };
  const programs = await buildContainerd2();
  return {
    fetch: (host, { reference }) => of(host).pull(reference),
    async start(host, { reference }) {
      const startedMs = performance.now();
      await of(host).pull(reference);
      const pulledMs = performance.now() - startedMs;
      return pulledMs + (await firstOutput(ctrRun(of(host), reference, join(programs, 'ctr'))));
    },
  };
}

const hostsDirectoryOf = (directory: string, { index }: Host): string => join(directory, `hosts-${index}`);
