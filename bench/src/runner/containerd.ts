import type { Containerd } from '@drakkar/lab';

let containers = 0;

/** The argument list that runs a container of a pulled image, with no network, and removes it. @param ctr the program, when not on the path */
export function ctrRun({ address, namespace }: Containerd, reference: string, ctr = 'ctr'): string[] {
  containers += 1;
  return [
    ctr,
    '--address',
    address,
    '--namespace',
    namespace,
    'run',
    '--rm',
    reference,
    `bench-${containers}`,
  ];
}
