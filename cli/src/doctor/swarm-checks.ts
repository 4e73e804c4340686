import type { SupernodeStanding, SwarmStatus } from '@drakkar/client';
import { CLOCK_TOLERANCE_MS } from '@drakkar/protocol';
import { formatAge, formatCount, formatDuration } from '../output/format.ts';
import type { Check } from './checks.ts';

/** What was found by trying, beside what the daemon says. */
export interface SwarmProbe {
  /** Whether somebody listens at the ports of this host. */
  readonly control: boolean;
  readonly data: boolean;
}

const CLOCK_WARNING_MS = CLOCK_TOLERANCE_MS / 10;

/** How a host stands in its swarm. Pure. */
export function swarmChecks(swarm: SwarmStatus | null, probe: SwarmProbe, nowMs: number): Check[] {
  if (swarm === null) {
    const finding = 'this host is alone: no supernode is configured (swarm.supernode)';
    return [{ name: 'swarm', verdict: 'ok', finding }];
  }
  return [
    supernodeCheck(swarm.supernode),
    ...othersCheck(swarm),
    clockCheck(swarm.supernode),
    membershipCheck(swarm, nowMs),
    portCheck('control port', swarm.controlPort, probe.control, 'swarm.controlPort'),
    portCheck('data port', swarm.dataPort, probe.data, 'swarm.dataPort'),
    {
      name: 'other hosts',
      verdict: 'ok',
      finding: `${formatCount(swarm.knownPeers, 'other host')} known, which can be asked without a supernode`,
    },
  ];
}

function supernodeCheck(supernode: SupernodeStanding): Check {
  const { address, up, downMs, error } = supernode;
  const name = 'supernode';
  if (up) return { name, verdict: 'ok', finding: `${address} answers` };
  if (error !== null && refuses(supernode)) {
    const remedy =
      error.hint ??
      'set swarm.joinToken to what `drakkar supernode token` prints; a member of another cluster must lose its swarm.json first';
    return { name, verdict: 'failure', finding: `${address}: ${error.message}`, remedy };
  }
  const why = error === null ? '' : `: ${error.message}`;
  return {
    name,
    verdict: 'failure',
    finding: `${address} has been away for ${formatAge(downMs)}${why}`,
    remedy:
      error?.hint ??
      'see whether `drakkar supernode` runs there and its port is open; pulls go on without it, slower',
  };
}

/** Where there are several, and not all of them answer. */
function othersCheck({ supernode, supernodes }: SwarmStatus): Check[] {
  const away = supernodes.filter(({ up }) => !up);
  if (!supernode.up || away.length === 0) return [];
  const why = away.map(({ address, error }) => `${address}${error === null ? '' : ` (${error.message})`}`);
  return [
    {
      name: 'other supernodes',
      verdict: 'warning',
      finding: `${away.length} of ${supernodes.length} are away: ${why.join(', ')}`,
      remedy: 'the others do its work; see whether it runs, and whether this host can reach it',
    },
  ];
}

/** It is there, and takes this host for no member. */
function refuses({ error }: SupernodeStanding): boolean {
  return error?.code === 'forbidden' || error?.code === 'unauthorized';
}

function clockCheck({ clockAheadMs }: SupernodeStanding): Check {
  const name = 'clock';
  if (clockAheadMs === null) {
    const finding = 'the supernode has not been met, so that clocks can’t be compared';
    return { name, verdict: 'warning', finding, remedy: 'see what stands above about the supernode' };
  }
  const apartMs = Math.abs(clockAheadMs);
  if (apartMs < CLOCK_WARNING_MS) {
    return { name, verdict: 'ok', finding: `${formatDuration(apartMs)} from the supernode’s` };
  }
  return {
    name,
    verdict: apartMs < CLOCK_TOLERANCE_MS ? 'warning' : 'failure',
    finding: `${formatDuration(apartMs)} ${clockAheadMs > 0 ? 'behind' : 'ahead of'} the supernode’s`,
    remedy: 'let NTP set the clocks of both: what is signed is good for a time',
  };
}

function membershipCheck({ memberUntilMs, peer, supernode }: SwarmStatus, nowMs: number): Check {
  const name = 'membership';
  if (memberUntilMs === null) {
    return {
      name,
      verdict: 'failure',
      finding: `${peer} is no member, or not any more`,
      remedy: 'set swarm.joinToken to what `drakkar supernode token` prints',
    };
  }
  const until = `until ${new Date(memberUntilMs).toISOString()}`;
  if (refuses(supernode)) {
    return {
      name,
      verdict: 'failure',
      finding: `${until}, but the supernode refuses this host`,
      remedy: 'see what stands above about the supernode',
    };
  }
  const left = memberUntilMs > nowMs ? `, ${formatAge(memberUntilMs - nowMs)} from now` : ', and it is over';
  return {
    name,
    verdict: memberUntilMs > nowMs ? 'ok' : 'warning',
    finding: `${until}${left}`,
    remedy: 'the supernode renews it when it is there',
  };
}

function portCheck(name: string, port: number, listens: boolean, setting: string): Check {
  return listens
    ? { name, verdict: 'ok', finding: `${port}; other hosts must be able to reach it` }
    : {
        name,
        verdict: 'failure',
        finding: `nobody answers at ${port}`,
        remedy: `see whether a firewall is between, or set ${setting} to another port`,
      };
}
