import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LOCALITY_LABELS, parseJoinToken, parseSupernodeAddress } from '@drakkar/protocol';
import { accepts, clashes, type Finding, type Listener, nearest } from '@drakkar/service';
import { hasMembership, STANDING_FILE } from '../swarm/standing.ts';
import type { Config } from './schema.ts';

/** Settings that do not go together, or are hardly meant. Pure. */
export function examine(config: Config): Finding[] {
  const { supernode, supernodeFile, joinToken, joinTokenFile, labels } = config.swarm;
  const findings = clashes(listenersOf(config));
  if (joinToken !== null && joinTokenFile !== null) {
    findings.push({
      setting: 'swarm.joinTokenFile',
      severity: 'problem',
      message: 'the token stands in swarm.joinToken already; leave one of the two out',
    });
  }
  if (supernode !== null && supernodeFile !== null) {
    findings.push({
      setting: 'swarm.supernodeFile',
      severity: 'problem',
      message: 'a supernode stands in swarm.supernode already; leave one of the two out',
    });
  }
  for (const label of Object.keys(labels)) {
    if (LOCALITY_LABELS.includes(label)) continue;
    const meant = nearest(label, LOCALITY_LABELS, 1);
    if (meant === undefined) continue;
    findings.push({
      setting: `swarm.labels.${label}`,
      severity: 'warning',
      message: `hosts are not told apart by this label; perhaps ${meant} is meant`,
    });
  }
  return findings;
}

function listenersOf({ mirror, metrics, swarm }: Config): Listener[] {
  const { address, controlPort, dataPort } = swarm;
  return [
    { setting: 'mirror.port', address: mirror.address, port: mirror.port },
    { setting: 'metrics.port', address: metrics.address, port: metrics.port ?? 0 },
    ...(swarm.supernode === null && swarm.supernodeFile === null
      ? []
      : [
          { setting: 'swarm.controlPort', address, port: controlPort },
          { setting: 'swarm.dataPort', address, port: dataPort },
        ]),
  ];
}

/** What a configuration needs and this machine has not. */
export async function examineSurroundings(config: Config): Promise<Finding[]> {
  const { registries, tracing } = config;
  const files = [
    ...registries.credentials.map(({ passwordFile }, index) => ({
      setting: `registries.credentials.${index}.passwordFile`,
      file: passwordFile,
    })),
    ...registries.caFiles.map((file, index) => ({ setting: `registries.caFiles.${index}`, file })),
    { setting: 'tracing.otlp.headersFile', file: tracing.otlp.headersFile ?? undefined },
  ];
  const unread = await Promise.all(
    files.map(async ({ setting, file }) =>
      file === undefined ? [] : unreadable(setting, await textOf(file), file),
    ),
  );
  return [...unread.flat(), ...(await examineSupernodes(config)), ...(await examineEntry(config))];
}

async function examineSupernodes({ swarm: { supernodeFile } }: Config): Promise<Finding[]> {
  if (supernodeFile === null) return [];
  const setting = 'swarm.supernodeFile';
  const text = await textOf(supernodeFile);
  if (text instanceof Error) return unreadable(setting, text, supernodeFile);
  const lines = text.split('\n').flatMap((line) => line.trim() || []);
  if (lines.length > 0 && lines.every(accepts(parseSupernodeAddress))) return [];
  const message = `what stands in ${supernodeFile} is no list of supernodes; write host:port/PEER, each on a line of its own`;
  return [{ setting, severity: 'problem', message }];
}

/** Whether this host is a member, or has what it needs to become one. */
async function examineEntry({ swarm, stateDirectory }: Config): Promise<Finding[]> {
  const { supernode, supernodeFile, joinToken, joinTokenFile } = swarm;
  if (joinTokenFile !== null) {
    const setting = 'swarm.joinTokenFile';
    const text = await textOf(joinTokenFile);
    if (text instanceof Error) return unreadable(setting, text, joinTokenFile);
    if (accepts(parseJoinToken)(text.trim())) return [];
    const message = `what stands in ${joinTokenFile} is not a join token; \`drakkar supernode token\` prints one`;
    return [{ setting, severity: 'problem', message }];
  }
  if ((supernode === null && supernodeFile === null) || joinToken !== null) return [];
  const setting = 'swarm.joinToken';
  try {
    if (await hasMembership(join(stateDirectory, STANDING_FILE))) return [];
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const message = `whether this host needs one, only the daemon’s user can tell: ${why}`;
    return [{ setting, severity: 'warning', message }];
  }
  const message = 'this host is no member of a cluster yet; write what `drakkar supernode token` prints';
  return [{ setting, severity: 'problem', message }];
}

async function textOf(file: string): Promise<string | Error> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function unreadable(setting: string, text: string | Error, file: string): Finding[] {
  if (!(text instanceof Error)) return [];
  const message = `${file} can’t be read (${text.message}); name a file that the daemon’s user can read`;
  return [{ setting, severity: 'problem', message }];
}
