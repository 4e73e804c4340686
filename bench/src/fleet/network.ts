import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface NetworkOptions {
  /** Switches, each with hosts of its own. Two are joined by a thin link. */
  readonly racks?: 1 | 2;
  /** Bits per second of that link, each way. */
  readonly thinRate?: number;
}

export interface PlaceOptions {
  /** Bits per second, each way; the machine's own speed when absent. */
  readonly rate?: number | undefined;
  /** How long a packet may wait for the link, each way; 50 ms when absent. */
  readonly queueMs?: number | undefined;
  readonly rack?: number | undefined;
}

/** A host's place in the network: a namespace with one address. */
export interface Place {
  readonly name: string;
  readonly address: string;
  /** A command line that runs within. */
  within(command: string, args: readonly string[]): readonly [string, readonly string[]];
  /** Bytes that it has put on its link, headers included. */
  sentBytes(): Promise<number>;
  /** Bytes that have come over its link. */
  receivedBytes(): Promise<number>;
  /** Takes the place from the network, or puts it back. */
  plug(isPlugged: boolean): Promise<void>;
  /** Lets nothing pass between this place and another, or lets it pass again; what is sent is lost without a word. */
  part(other: Place, isParted: boolean): Promise<void>;
}

/** How long so many bytes take over a link of so many bits per second, at the least. */
export const linkMs = (sizeBytes: number, rate: number): number => (sizeBytes * 8 * 1000) / rate;

/** Hosts on one machine: namespaces on bridges, with links of their own rates. */
export interface Network extends AsyncDisposable {
  add(options?: PlaceOptions): Promise<Place>;
  /** Bytes that went over the link between the racks, both ways; 0 where there is one rack. */
  thinBytes(): Promise<number>;
  /** Where this process is, as the hosts see it. */
  readonly ownAddress: string;
}

/**
 * What most hosts have: BBR takes the delay of an idle virtual link, ten microseconds, for that of a busy one, and starves. And
 * segments of 23 KB: with small ones two cores do little but take packets from one host to the next.
 */
const SETTINGS = ['net.ipv4.tcp_congestion_control=cubic', 'net.ipv4.tcp_min_tso_segs=16'];

const QUEUE_MS = 50;

/** Source: RFC 5771, section 3. */
const MULTICAST = '224.0.0.0/4';

/** Namespaces may only choose among these. */
const ALLOWED_FILE = '/proc/sys/net/ipv4/tcp_allowed_congestion_control';

async function allowCubic(): Promise<void> {
  const allowed = await readFile(ALLOWED_FILE, 'utf8');
  if (!allowed.split(/\s/).includes('cubic')) await writeFile(ALLOWED_FILE, `${allowed.trim()} cubic`);
}

let networks = 0;

/** Needs root and `iproute2`. Everything is gone when it is disposed. */
export async function startNetwork({ racks = 1, thinRate }: NetworkOptions = {}): Promise<Network> {
  await allowCubic();
  networks += 1;
  const id = `dk${(process.pid % 46_656).toString(36)}${networks.toString(36)}`;
  // Of the range for benchmarks of devices, which nobody else uses. Source: RFC 2544, appendix C.2.2.
  const subnet = `198.18.${(process.pid + networks) % 250}`;
  await using stack = new AsyncDisposableStack();
  const bridges = Array.from({ length: racks }, (_, rack) => `${id}b${rack}`);
  for (const bridge of bridges) {
    await ip('link', 'add', bridge, 'type', 'bridge', 'forward_delay', '0');
    stack.defer(() => ip('link', 'del', bridge));
    await ip('link', 'set', bridge, 'up');
  }
  const [first = '', second] = bridges;
  const ownAddress = `${subnet}.1`;
  await ip('address', 'add', `${ownAddress}/24`, 'dev', first);
  const thin = `${id}t0`;
  if (second !== undefined) {
    await ip('link', 'add', thin, 'type', 'veth', 'peer', 'name', `${id}t1`);
    for (const [end, bridge] of [
      [thin, first],
      [`${id}t1`, second],
    ] as const) {
      await ip('link', 'set', end, 'master', bridge, 'up');
      if (thinRate !== undefined) await limit(end, thinRate);
    }
  }
  let places = 0;
  const running = stack.move();
  return {
    ownAddress,
    async add({ rate, queueMs, rack = 0 } = {}) {
      places += 1;
      const name = `${id}n${places}`;
      const address = `${subnet}.${places + 1}`;
      const outer = `${id}v${places}`;
      await ip('netns', 'add', name);
      running.defer(() => ip('netns', 'del', name));
      await ip('link', 'add', outer, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
      await ip('link', 'set', outer, 'master', bridges[rack] ?? first, 'up');
      for (const device of ['lo', 'eth0']) await ip('-n', name, 'link', 'set', device, 'up');
      await ip('-n', name, 'address', 'add', `${address}/24`, 'dev', 'eth0');
      // Who has no way out sends nothing to a group of the local network, either, unless it is told where that is.
      await ip('-n', name, 'route', 'add', MULTICAST, 'dev', 'eth0');
      for (const setting of SETTINGS) await run('ip', ['netns', 'exec', name, 'sysctl', '-qw', setting]);
      if (rate !== undefined) {
        await limit(outer, rate, { queueMs });
        await limit('eth0', rate, { queueMs, namespace: name });
      }
      return {
        name,
        address,
        within: (command, args) => ['nsenter', [`--net=/run/netns/${name}`, command, ...args]],
        sentBytes: async () => (await countersOf(outer)).received,
        receivedBytes: async () => (await countersOf(outer)).sent,
        plug: (isPlugged) => ip('link', 'set', outer, isPlugged ? 'up' : 'down'),
        part: async (other, isParted) => {
          const how = isParted ? 'add' : 'del';
          await ip('-n', name, 'route', how, 'blackhole', `${other.address}/32`);
          await ip('-n', other.name, 'route', how, 'blackhole', `${address}/32`);
        },
      };
    },
    async thinBytes() {
      if (second === undefined) return 0;
      const { sent, received } = await countersOf(thin);
      return sent + received;
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function ip(...args: string[]): Promise<void> {
  await run('ip', args);
}

/** A queue and bursts of a few packets, as a switch has them. */
async function limit(
  device: string,
  rate: number,
  {
    queueMs = QUEUE_MS,
    namespace,
  }: { readonly queueMs?: number | undefined; readonly namespace?: string } = {},
): Promise<void> {
  const within = namespace === undefined ? [] : ['-n', namespace];
  const burst = Math.max(16_000, Math.round(rate / 8 / 250) * 2);
  await run('tc', [
    ...within,
    'qdisc',
    'add',
    'dev',
    device,
    'root',
    'tbf',
    'rate',
    `${rate}bit`,
    'burst',
    `${burst}`,
    'latency',
    `${queueMs}ms`,
  ]);
}

async function countersOf(device: string): Promise<{ sent: number; received: number }> {
  const { stdout } = await run('ip', ['-j', '-s', 'link', 'show', 'dev', device]);
  const [link] = JSON.parse(stdout) as { stats64: { rx: { bytes: number }; tx: { bytes: number } } }[];
  return { sent: link?.stats64.tx.bytes ?? 0, received: link?.stats64.rx.bytes ?? 0 };
}
