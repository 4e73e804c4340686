import { join } from 'node:path';
import { type Child, startChild, untilReady } from '@drakkar/lab';
import type { Place } from './network.ts';

/** A program of the fleet that can be killed and started again. */
export interface Member {
  readonly place: Place | undefined;
  readonly pid: number;
  start(): Promise<void>;
  /** Returns when it is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  output(): string;
}

export const ENTRY = join(import.meta.dirname, '../../../cli/src/main.js');
/** However this process ends. Source: setpriv(1), prctl(2). */
const ENDS_WITH_US = ['--pdeathsig', 'KILL'];

/** @param ask fails until the program answers */
export function memberOf(
  place: Place | undefined,
  args: readonly string[],
  configure: () => Promise<void>,
  ask: () => Promise<void>,
  environment: Readonly<Record<string, string>> = {},
): Member {
  let child: Child | undefined;
  return {
    place,
    get pid() {
      return child?.process.pid ?? 0;
    },
    output: () => child?.output() ?? '',
    async start() {
      await configure();
      const line = [process.execPath, ENTRY, ...args];
      const [command, all] = place?.within('setpriv', [...ENDS_WITH_US, ...line]) ?? [
        'setpriv',
        [...ENDS_WITH_US, ...line],
      ];
      child = startChild(command, all, { env: { ...process.env, ...environment } });
      await untilReady(child, args[0] ?? '', () =>
        ask().then(
          () => true,
          () => false,
        ),
      );
    },
    async kill(signal = 'SIGKILL') {
      if (child === undefined) return;
      // A second SIGTERM would have it end at once.
      if (signal !== 'SIGTERM') child.process.kill(signal);
      await child.stop();
    },
  };
}
