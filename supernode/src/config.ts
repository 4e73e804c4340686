import { isIP } from 'node:net';
import { join } from 'node:path';
import { ADMIN_SOCKET_NAME, DEFAULT_SUPERNODE_CONFIG_PATH } from '@drakkar/client';
import { parseHostPort } from '@drakkar/protocol';
import {
  absolutePath,
  accepts,
  clashes,
  defineConfiguration,
  fitsSocket,
  ipAddress,
  MAX_SOCKET_BYTES,
  port,
  tracingSettings,
} from '@drakkar/service';
import { z } from 'zod';
import { EVERY_MEMBER } from './snapshots/snapshots.ts';
import { SWARM_DEFAULTS } from './swarm/options.ts';

const DAY_MS = 24 * 60 * 60_000;

const supernodeSchema = z.strictObject({
  stateDirectory: absolutePath
    .refine(
      (path) => fitsSocket(join(path, ADMIN_SOCKET_NAME)),
      `is too long: the admin socket in it may have ${MAX_SOCKET_BYTES} bytes`,
    )
    .default('/var/lib/drakkar/supernode')
    .describe('Keys, members, quarantine, and what is known of snapshots.'),
  state: z
    .strictObject({
      redis: z
        .strictObject({
          url: z
            .url({ protocol: /^rediss?$/, error: 'is no URL of redis or rediss' })
            .nullable()
            .default(null)
            .describe('`redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, or `rediss://` for TLS.'),
          urlFile: absolutePath.nullable().default(null).describe('A file that holds it, instead.'),
          keyPrefix: z
            .string()
            .regex(/^[\w.:-]{1,100}$/, 'is not 1 to 100 letters, digits, `_`, `.`, `:` or `-`')
            .default('drakkar')
            .describe('Clusters that share a Redis have different ones.'),
        })
        .refine(({ url, urlFile }) => url === null || urlFile === null, {
          error: 'stands in state.redis.urlFile already; leave one of the two out',
          path: ['url'],
        })
        .prefault({})
        .describe('What several supernodes share. One alone needs none: it keeps everything in a file.'),
      secretFile: absolutePath
        .nullable()
        .default(null)
        .describe(
          'With what stands in it the cluster’s keys are sealed before they go to Redis; all supernodes have the same.',
        ),
    })
    .prefault({})
    .describe('Where it keeps what it must not forget.'),
  kubernetes: z
    .strictObject({
      enabled: z.boolean().default(false).describe('Whether it brings about what ImageSnapshots say.'),
      kubeconfig: absolutePath
        .nullable()
        .default(null)
        .describe('How the API server is reached; as the pod’s service account where `null`.'),
      context: z
        .string()
        .min(1)
        .max(253)
        .nullable()
        .default(null)
        .describe('Of the kubeconfig; its own where `null`.'),
      namespace: z
        .string()
        .regex(/^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/, 'is no name of a namespace')
        .default('drakkar')
        .describe('Where it holds the lease by which one supernode at a time does so.'),
      nodeLabels: z
        .int()
        .min(0)
        .max(50)
        .default(0)
        .describe(
          'Of so many ImageSnapshots, the first by their names, nodes have the label `snapshot.drakkar.dev/NAME` while they have all of it, so that schedulers can prefer them. It needs the right to patch nodes.',
        ),
      joinSecret: z
        .string()
        .regex(/^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/, 'is no name of a Secret')
        .nullable()
        .default(null)
        .describe(
          'A Secret in that namespace that is to hold `supernodes` and `joinToken`, as files for daemons; none where `null`.',
        ),
    })
    .prefault({})
    .describe('The Kubernetes cluster whose nodes the hosts are; each host is called as its node.'),
  log: z
    .strictObject({ level: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info') })
    .prefault({})
    .describe('What it says on stderr, in JSON lines.'),
  tracing: tracingSettings
    .prefault({})
    .describe('What is done for one pull, on all hosts: docs/operations.md says how it is followed.'),
  address: ipAddress.default('0.0.0.0').describe('Where daemons reach it.'),
  advertise: z
    .string()
    .refine(
      accepts((text) => parseHostPort(isIP(text) === 6 ? `[${text}]:1` : `${text}:1`)),
      'is no address or name of a host',
    )
    .nullable()
    .default(null)
    .describe(
      'Where daemons and other supernodes reach this one, an address or a name; found out where `null`.',
    ),
  port: port.default(4400).describe('0 takes a free port.'),
  metrics: z
    .strictObject({
      address: ipAddress.default('127.0.0.1'),
      port: port.default(4401).describe('0 takes a free port.'),
    })
    .prefault({})
    .describe('Prometheus metrics at `/metrics`, and `/healthz`.'),
  api: z
    .strictObject({
      address: ipAddress.default('127.0.0.1'),
      port: port.default(4405).describe('0 takes a free port.'),
      tls: z
        .union([
          z.enum(['auto', 'off', 'own']),
          z.strictObject({ certificateFile: absolutePath, keyFile: absolutePath }),
        ])
        .default('auto')
        .describe(
          '`{certificateFile, keyFile}` for files in PEM, which are read again when they change, `own` for a certificate that is made and that clients know by its pin, `off` for none; `auto` is `off` on loopback and `own` elsewhere.',
        ),
      anonymousViewers: z
        .boolean()
        .default(false)
        .describe('Whoever has no token may look, and change nothing.'),
      requestsPerMinute: z.int().min(1).default(1_200).describe('Of one caller.'),
    })
    .prefault({})
    .describe('The API and the console, for people and programs.'),
  maxHosts: z.int().min(1).default(16_384).describe('Connections of daemons at the same time.'),
  membershipMs: z
    .int()
    .min(60_000)
    .default(7 * DAY_MS)
    .describe('How long a membership is good; it is renewed after two thirds of that.'),
  grantMs: z
    .int()
    .min(1_000)
    .default(30 * 60_000)
    .describe('How long a permission to fetch a blob is good.'),
  snapshots: z
    .strictObject({
      builders: z
        .array(z.string().min(1).max(255))
        .default([EVERY_MEMBER])
        .describe(
          'Whose snapshots all hosts may use: peers, host names, or `*` for every member. A host gives itself its name; who is not every host’s friend is named by its peer.',
        ),
      maxSnapshots: z
        .int()
        .min(16)
        .default(10_000)
        .describe(
          'Snapshots that are known; the one that was asked for longest ago goes first. One host announces no more than a quarter of them.',
        ),
      maxBytes: z
        .int()
        .min(16 * 1024 ** 2)
        .default(1024 ** 3)
        .describe('Bytes of what is known of snapshots, and as many of what starts read of them.'),
      keepMs: z
        .int()
        .min(60_000)
        .default(90 * DAY_MS)
        .describe('A snapshot that nobody has asked for so long is forgotten.'),
    })
    .prefault({})
    .describe('Snapshots that hosts have built, and tell each other of.'),
  swarm: z
    .strictObject({
      candidates: z.int().min(1).max(64).default(SWARM_DEFAULTS.candidates).describe('Parents of a child.'),
      origins: z
        .int()
        .min(1)
        .default(SWARM_DEFAULTS.origins)
        .describe('Hosts that may read one blob from its registry at the same time.'),
      originStallMs: z
        .int()
        .min(100)
        .default(SWARM_DEFAULTS.originStallMs)
        .describe('Without progress for so long, another host reads it.'),
      heartbeatMs: z.int().min(100).default(SWARM_DEFAULTS.heartbeatMs),
      silenceMs: z
        .int()
        .min(300)
        .default(SWARM_DEFAULTS.silenceMs)
        .describe('A host that is silent so long is gone.'),
      reportsToQuarantine: z
        .int()
        .min(1)
        .default(SWARM_DEFAULTS.reportsToQuarantine)
        .describe('Hosts that must report wrong bytes of a peer before nobody is sent to it.'),
      quarantineMs: z.int().min(0).default(SWARM_DEFAULTS.quarantineMs),
      localityLabels: z
        .array(z.string())
        .min(1)
        .default([...SWARM_DEFAULTS.localityLabels])
        .describe('Labels of hosts that say how near they are to each other, the nearest first.'),
    })
    .prefault({})
    .describe('Who gets what from whom.'),
});

export type SupernodeConfig = z.output<typeof supernodeSchema>;

/** One schema with its defaults, from which files are checked and the documentation is printed. */
export const supernodeConfiguration = defineConfiguration({
  schema: supernodeSchema,
  examine: ({ address, port, metrics, api }) =>
    clashes([
      { setting: 'port', address, port },
      { setting: 'api.port', ...api },
      { setting: 'metrics.port', ...metrics },
    ]),
  defaultPath: DEFAULT_SUPERNODE_CONFIG_PATH,
  title: 'Configuration of the supernode',
  about: [
    'One YAML file, `/etc/drakkar/supernode.yaml` or the one given to `drakkar supernode --config`. Every key may be left out.',
  ],
  source: 'supernode/src/config.ts by `drakkar config document --supernode`',
  documentedIn: 'docs/supernode-configuration.md',
  defaultCommand: 'drakkar config default --supernode',
  other: {
    whose: 'a daemon’s',
    settings: [
      ...['mirror', 'registries', 'files', 'store', 'native'],
      ...['swarm.supernode', 'swarm.joinToken', 'swarm.joinTokenFile', 'swarm.name', 'swarm.labels'],
      ...['swarm.address', 'swarm.advertise', 'swarm.controlPort', 'swarm.dataPort', 'swarm.mdns'],
    ],
  },
});
