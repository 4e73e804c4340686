import type { Finding } from './findings.ts';

/** A setting that says where a process listens. */
export interface Listener {
  readonly setting: string;
  readonly address: string;
  /** 0 takes a free one. */
  readonly port: number;
}

const EVERYWHERE: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** Ports that would be listened on twice. Pure. */
export function clashes(listeners: readonly Listener[]): Finding[] {
  return listeners.flatMap((listener, index) => {
    const first = listeners.slice(0, index).find((other) => clash(listener, other));
    if (first === undefined) return [];
    const { setting, port } = listener;
    const message = `port ${port} is that of ${first.setting} already; write another, or 0 for a free one`;
    return [{ setting, severity: 'problem', message }];
  });
}

function clash(one: Listener, other: Listener): boolean {
  if (one.port === 0 || one.port !== other.port) return false;
  const [first, second] = [addressOf(one), addressOf(other)];
  return first === second || EVERYWHERE.has(first) || EVERYWHERE.has(second);
}

const addressOf = ({ address }: Listener): string => (address === 'localhost' ? '127.0.0.1' : address);
