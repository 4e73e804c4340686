import { isIP } from 'node:net';
import { join } from 'node:path';
import { ADMIN_SOCKET_NAME, DEFAULT_STATE_DIRECTORY } from '@drakkar/client';
import {
  DEFAULT_BLOCK_BYTES,
  decodePublicKey,
  isOrigin,
  parseHostPort,
  parseJoinToken,
  parseSupernodeAddress,
  ROLES,
} from '@drakkar/protocol';
import {
  absolutePath,
  accepts,
  byteSize,
  fitsSocket,
  ipAddress,
  MAX_SOCKET_BYTES,
  port,
  tracingSettings,
} from '@drakkar/service';
import { DEFAULT_BUILD_LIMITS, DEFAULT_STALL_TIMEOUT_MS } from '@drakkar/snapshotter';
import { z } from 'zod';
import { MEASUREMENT_DEFAULTS } from '../measurements/options.ts';
import { MIRROR_DEFAULTS } from '../mirror/index.ts';
import { STORE_DEFAULTS } from '../store/index.ts';
import { SWARM_PEER_DEFAULTS } from '../swarm/options.ts';
import { FILE_RULES, parseUrlPattern, UPSTREAM_DEFAULTS } from '../upstream/index.ts';

const credentialSchema = z
  .strictObject({
    registry: z.string().describe('Host of the registry, as image references name it.'),
    username: z.string(),
    password: z.string().optional().describe('The password or access token.'),
    passwordFile: z.string().optional().describe('A file that holds it, instead.'),
  })
  .refine(
    ({ password, passwordFile }) => (password === undefined) !== (passwordFile === undefined),
    'needs either password or passwordFile',
  );

const publicKey = z.string().refine((text) => {
  try {
    return decodePublicKey(text).asymmetricKeyType === 'ed25519';
  } catch {
    return false;
  }
}, 'is not an Ed25519 public key; write its 32 bytes in base64');

const isHost = accepts((text) => parseHostPort(isIP(text) === 6 ? `[${text}]:1` : `${text}:1`));

const supernodeAddress = z
  .string()
  .refine(accepts(parseSupernodeAddress), 'is not host:port/PEER, as `drakkar supernode token` prints it');

const rate = byteSize
  .refine((bytesPerSecond) => bytesPerSecond >= 1024, 'is less than 1 KiB a second; null is no limit')
  .nullable()
  .default(null);

const MEBIBYTE = 1024 * 1024;
const storage = byteSize.refine((bytes) => bytes >= MEBIBYTE, 'is too little; write at least 1MiB');

/** For what an empty text says nothing. */
const words = (instead: string) => z.string().refine((text) => text.trim() !== '', `is empty; ${instead}`);

/**
 * The whole configuration. Defaults stand here and nowhere else; `drakkar config default` and docs/configuration.md are
 * printed from this schema.
 */
export const configSchema = z.strictObject({
  stateDirectory: absolutePath
    .refine(
      (path) => fitsSocket(join(path, ADMIN_SOCKET_NAME)),
      `is too long: the admin socket in it may have ${MAX_SOCKET_BYTES} bytes`,
    )
    .default(DEFAULT_STATE_DIRECTORY)
    .describe('Blobs, snapshots and their index. Needs a disk: ext4, xfs or btrfs.'),
  log: z
    .strictObject({
      level: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
    })
    .prefault({})
    .describe('What the daemon says on stderr, in JSON lines.'),
  tracing: tracingSettings
    .extend({
      tellUpstream: z
        .boolean()
        .default(false)
        .describe('Tell registries and web servers, too, to which trace a request belongs: `traceparent`.'),
    })
    .prefault({})
    .describe('What is done for one pull, on all hosts: docs/operations.md says how it is followed.'),
  mirror: z
    .strictObject({
      address: ipAddress
        .default(MIRROR_DEFAULTS.address)
        .describe('Where containerd reaches the mirror. Keep it on loopback.'),
      port: port.default(MIRROR_DEFAULTS.port).describe('0 takes a free port.'),
      defaultRegistry: z
        .string()
        .refine(isOrigin, 'is no registry; write its host, as image references name it')
        .default(MIRROR_DEFAULTS.defaultRegistry)
        .describe('Which registry is meant where a caller does not say `ns=`.'),
      tagTtlMs: z
        .int()
        .min(0)
        .default(MIRROR_DEFAULTS.tagTtlMs)
        .describe('How long a tag is trusted before it is asked for again.'),
      tagMaxAgeMs: z
        .int()
        .min(0)
        .default(MIRROR_DEFAULTS.tagMaxAgeMs)
        .describe('How old the last known digest of a tag may be when the registry is away.'),
      verdictTtlMs: z
        .int()
        .min(0)
        .default(MIRROR_DEFAULTS.verdictTtlMs)
        .describe('How long a registry’s yes to “may this caller have it?” is good.'),
      verdictGraceMs: z
        .int()
        .min(0)
        .default(MIRROR_DEFAULTS.verdictGraceMs)
        .describe('How long it stays good while the registry is away.'),
      anonymousUsesDaemonCredentials: z
        .boolean()
        .default(MIRROR_DEFAULTS.anonymousUsesDaemonCredentials)
        .describe(
          'Give callers without credentials what the daemon’s own open: every process of the host then has every image that the daemon may read.',
        ),
      lendCredentials: z
        .boolean()
        .default(MIRROR_DEFAULTS.lendCredentials)
        .describe(
          'Let the daemon, where it has no credential of its own for a registry, use what callers have shown for a repository: an hour long, in memory only. So an image that is pulled with a pod’s secret has its snapshot.',
        ),
      maxConnections: z.int().min(1).default(MIRROR_DEFAULTS.maxConnections),
    })
    .prefault({})
    .describe('The registry mirror for containerd.'),
  metrics: z
    .strictObject({
      address: ipAddress.default('127.0.0.1'),
      port: port.nullable().default(4404).describe('0 takes a free port, `null` serves none.'),
    })
    .prefault({})
    .describe('Prometheus metrics at `/metrics`, and `/healthz`.'),
  registries: z
    .strictObject({
      allow: z
        .array(z.string())
        .default([...UPSTREAM_DEFAULTS.allow])
        .describe('Registries that may be used, as host names with * for any run of characters.'),
      plainHttp: z
        .array(z.string())
        .default([])
        .describe('Registries that are spoken to without TLS. Loopback addresses always may be.'),
      caFiles: z.array(z.string()).default([]).describe('PEM files of further certificate authorities.'),
      allowPrivateRedirects: z
        .array(z.string())
        .default([])
        .describe('Hosts on private networks to which a public registry may redirect.'),
      credentials: z
        .array(credentialSchema)
        .default([])
        .describe('Besides these, Docker’s config.json and its credential helpers are used.'),
      dockerConfigFile: words('write the path of a file, or null to read none')
        .nullable()
        .default('~/.docker/config.json')
        .describe('Docker’s own credentials; `null` reads none, a missing file is no error.'),
      connectionsPerHost: z.int().min(1).max(256).default(UPSTREAM_DEFAULTS.connectionsPerHost),
      answerTimeoutMs: z
        .int()
        .min(1)
        .default(UPSTREAM_DEFAULTS.answerTimeoutMs)
        .describe('A registry that does not begin to answer by then is away.'),
      idleTimeoutMs: z
        .int()
        .min(1)
        .default(UPSTREAM_DEFAULTS.idleTimeoutMs)
        .describe('A body that brings no byte this long is cut and resumed.'),
      rateWindowMs: z.int().min(1).default(UPSTREAM_DEFAULTS.rateWindowMs),
      minimumBytesPerSecond: z
        .int()
        .min(0)
        .default(UPSTREAM_DEFAULTS.minimumBytesPerSecond)
        .describe('A body slower than this over `rateWindowMs` is given up.'),
      tries: z
        .int()
        .min(1)
        .max(100)
        .default(UPSTREAM_DEFAULTS.tries)
        .describe('Of one request; progress begins anew.'),
    })
    .prefault({})
    .describe('Upstream registries.'),
  files: z
    .strictObject({
      allow: z
        .array(
          z
            .string()
            .refine(
              (pattern) => parseUrlPattern(pattern) !== undefined,
              'is not scheme://host[:port][/path], with http, https or * as its scheme',
            ),
        )
        .default([...FILE_RULES.allow])
        .describe(
          'What `drakkar get` may fetch, redirects included: `scheme://host[:port][/path]`, with * for any run of characters.',
        ),
      allowPrivate: z
        .array(z.string())
        .default([...FILE_RULES.allowPrivate])
        .describe(
          'Hosts on private networks or this machine, with or without port, from which files may be fetched.',
        ),
    })
    .prefault({})
    .describe('Files of web servers. Time limits, connections and `caFiles` are those of `registries`.'),
  store: z
    .strictObject({
      quotaBytes: storage
        .prefault(STORE_DEFAULTS.quotaBytes)
        .describe('What the store may hold. The least recently used goes first; what is mounted stays.'),
    })
    .prefault({})
    .describe('Blobs and raw snapshot files.'),
  snapshots: z
    .strictObject({
      blockBytes: z
        .int()
        .multipleOf(4096)
        .min(4096)
        .max(16 * 1024 ** 2)
        .default(DEFAULT_BLOCK_BYTES)
        .describe('Uncompressed bytes of one independently compressed block.'),
      useRegistry: z
        .boolean()
        .default(true)
        .describe('Look in the image’s registry for a snapshot before building one.'),
      buildUponEarlier: z
        .boolean()
        .default(true)
        .describe(
          'Build upon the newest snapshot of the same repository that is known here, so that an update moves only what has changed.',
        ),
      rearrange: z
        .boolean()
        .default(true)
        .describe(
          'Lay snapshots that were built here out anew when it has been learned what starts of them read, so that hosts which start them fetch just that. It is stored twice then.',
        ),
      rearrangeDelayMs: z
        .int()
        .min(0)
        .default(60_000)
        .describe('After the first start is known of: until then others tell what they read.'),
      trustedBuilders: z
        .array(publicKey)
        .default([])
        .describe(
          'Public keys (base64) whose snapshots are used. This host’s own key always is; `drakkar doctor` prints it.',
        ),
      trustCluster: z
        .boolean()
        .default(true)
        .describe(
          'Use snapshots of builders that the cluster vouches for: of all its members, unless `snapshots.builders` of the supernode says otherwise.',
        ),
      maxEntries: z.int().min(1).default(DEFAULT_BUILD_LIMITS.entries).describe('Tar entries of one image.'),
      maxRawBytes: byteSize
        .prefault(DEFAULT_BUILD_LIMITS.totalBytes)
        .describe('Uncompressed bytes of all layers of one image.'),
      maxFileBytes: byteSize.prefault(DEFAULT_BUILD_LIMITS.fileBytes).describe('Apparent size of one file.'),
      stallTimeoutMs: z
        .int()
        .min(1000)
        .default(DEFAULT_STALL_TIMEOUT_MS)
        .describe('A build that makes no progress this long is ended.'),
    })
    .prefault({})
    .describe('Block snapshots.'),
  swarm: z
    .strictObject({
      supernode: z
        .union([supernodeAddress, z.array(supernodeAddress).min(1).max(16)])
        .nullable()
        .default(null)
        .describe(
          '`host:port/PEER`; several where there are several: one of them suffices, it tells of the others. Without one this host is alone.',
        ),
      supernodeFile: absolutePath
        .nullable()
        .default(null)
        .describe(
          'A file that holds it, or several, each on a line of its own, instead. It is read again while none of them is there.',
        ),
      joinToken: z
        .string()
        .refine(accepts(parseJoinToken), 'is not a join token; `drakkar supernode token` prints one')
        .nullable()
        .default(null)
        .describe('Lets this host in until it is a member.'),
      joinTokenFile: absolutePath.nullable().default(null).describe('A file that holds it, instead.'),
      name: words('write a name, or null to take the host’s own')
        .max(255)
        .nullable()
        .default(null)
        .describe('What people call it; the host’s own name where `null`.'),
      labels: z
        .record(z.string().max(255), z.string().max(255))
        .default({})
        .describe(
          'Where it is: `host`, `rack`, `zone`, `region`; a value names one place in the whole cluster. Near hosts are asked first.',
        ),
      roles: z
        .array(z.enum(ROLES))
        .default([])
        .describe(
          'What it does for the cluster: a `seed` is given content to keep for others, a `builder` builds snapshots. Where no host is a builder, all are.',
        ),
      address: ipAddress.default(SWARM_PEER_DEFAULTS.address).describe('Where it listens for other hosts.'),
      advertise: z
        .string()
        .refine(isHost, 'is not an IP address or host name; write it without a port')
        .nullable()
        .default(null)
        .describe(
          'The address or host name, without a port, under which others reach it; found out where `null`.',
        ),
      controlPort: port.default(SWARM_PEER_DEFAULTS.controlPort).describe('0 takes a free port.'),
      dataPort: port.default(SWARM_PEER_DEFAULTS.dataPort).describe('0 takes a free port.'),
      mdns: z
        .boolean()
        .default(SWARM_PEER_DEFAULTS.mdns)
        .describe('Find other hosts on the local network when the supernode is away.'),
      uploadSlots: z
        .int()
        .min(1)
        .max(1024)
        .default(SWARM_PEER_DEFAULTS.limits.uploadSlots)
        .describe('Requests of other hosts that are served at the same time.'),
      uploadRate: rate.describe('Bytes per second to other hosts; `null` is no limit.'),
      downloadRate: rate.describe('Bytes per second from other hosts.'),
      upstreamRate: rate.describe(
        'Bytes per second of blobs from registries, all together; holds for a host that is alone, too.',
      ),
      inFlightBytes: storage
        .prefault(SWARM_PEER_DEFAULTS.limits.inFlightBytes)
        .describe('What has been asked of other hosts and is not here yet, at most.'),
      memoryBytes: storage
        .prefault(SWARM_PEER_DEFAULTS.limits.memoryBytes)
        .describe('A daemon that needs more memory asks for little at a time.'),
    })
    .prefault({})
    .describe('Other hosts: this one gets pieces from them and gives them.'),
  volumes: z
    .strictObject({
      background: z
        .enum(['on', 'idle', 'off'])
        .default('on')
        .describe(
          'Whether what readers have not asked for is fetched as well, until the kernel needs nobody: on, idle (only while nobody waits for anything), or off.',
        ),
      backgroundRate: rate.describe(
        'Compressed bytes per second of that, of all volumes together; `null` is no limit.',
      ),
      backgroundDelayMs: z
        .int()
        .min(0)
        .default(5_000)
        .describe('After a mount, so that the start itself has the link alone.'),
    })
    .prefault({})
    .describe('Volumes that are mounted before all of them is here.'),
  measurements: z
    .strictObject({
      allowed: z
        .boolean()
        .default(MEASUREMENT_DEFAULTS.allowed)
        .describe(
          'Whether operators may have this host pull and start images to see what that takes: `drakkar bench`.',
        ),
      mostBytes: storage
        .prefault(MEASUREMENT_DEFAULTS.mostBytes)
        .describe('That one measurement may bring, at most.'),
      withinMs: z
        .int()
        .min(1_000)
        .max(86_400_000)
        .default(MEASUREMENT_DEFAULTS.withinMs)
        .describe('How long one may take, at most; and what it brought may stay for other hosts to have.'),
    })
    .prefault({})
    .describe('What others may measure of this host. Nothing of it stays.'),
  native: z
    .strictObject({
      socket: absolutePath
        .refine(fitsSocket, `is longer than ${MAX_SOCKET_BYTES} bytes`)
        .default('/run/drakkar/native.sock')
        .describe('Where drakkar-native listens.'),
      backend: z
        .enum(['auto', 'local', 'fanotify', 'fuse'])
        .default('auto')
        .describe(
          'How volumes are filled while they are mounted: fanotify (Linux ≥ 6.14), fuse, or local: not at all, so that all of a snapshot is fetched before.',
        ),
      readDeadlineMs: z
        .int()
        .min(1_000)
        .max(600_000)
        .default(30_000)
        .describe(
          'How long a reader waits for what is missing, as drakkar-native is told; it gets an error then.',
        ),
      backing: z
        .enum(['auto', 'file', 'loop'])
        .default('auto')
        .describe('What local volumes are mounted from: files (Linux ≥ 6.12) or loop devices.'),
    })
    .prefault({})
    .describe('The privileged helper.'),
  containerd: z
    .strictObject({
      snapshotterSocket: absolutePath
        .refine(fitsSocket, `is longer than ${MAX_SOCKET_BYTES} bytes`)
        .nullable()
        .default(null)
        .describe('Where containerd finds its snapshotter `drakkar`; null is none.'),
      buildSnapshots: z
        .boolean()
        .default(true)
        .describe(
          'Make the snapshot of an image that has none in the background, when containerd has pulled it: it need not be unpacked the next time.',
        ),
      buildDelayMs: z
        .int()
        .min(0)
        .max(3_600_000)
        .default(10_000)
        .describe(
          'How long after its pull that begins, at least; at most three times as long, so that hosts that pull together do not all build.',
        ),
    })
    .prefault({})
    .describe('Containerd on this host.'),
});

/** What a person may write. */
export type RawConfig = z.input<typeof configSchema>;
/** Complete: every default is in. */
export type Config = z.output<typeof configSchema>;
