import type { AdminClient, BuildResult, PullResult } from '@drakkar/client';
import { DrakkarError } from '@drakkar/errors';
import { hostPlatform, parsePlatform } from '@drakkar/protocol';
import { defineCommand } from '../command-line/command.ts';
import { PLATFORM } from '../command-line/options.ts';
import { findPlace } from '../configure/places.ts';
import { type Context, showing } from '../context.ts';
import { formatAge, formatBytes, formatCount, formatDuration } from '../output/format.ts';
import { describeFlow, describeReceipt } from '../output/receipt.ts';

const CONTAINERD_NAMESPACE = 'default';

/** `drakkar pull IMAGE`: an image's manifest, config and layers into the store, or the image into containerd. */
export const commands = [
  defineCommand({
    name: 'pull',
    summary: 'download an image into the store, or give it to containerd without unpacking it',
    notes:
      'With --containerd nothing but manifests and config is downloaded: containerd gets the snapshots of the layers, and containers start from those (`ctr run --snapshotter drakkar`). With --layers it gets the layers as well, which `ctr image export`, push and convert need.',
    positionals: ['<image>'],
    options: {
      platform: PLATFORM,
      containerd: { summary: 'give it to containerd, for its snapshotter drakkar' },
      layers: { summary: 'with --containerd: its layers, too' },
      namespace: {
        summary: `containerd’s namespace, unless it is ${CONTAINERD_NAMESPACE}; k8s.io is that of pods`,
        value: 'name',
      },
      'containerd-address': {
        summary: 'containerd’s socket, unless it is the usual one, or that of k3s or RKE2',
        value: 'file',
      },
    },
    async run(context, [image], flags) {
      const { platform, containerd, layers } = flags;
      if (
        !containerd &&
        (layers || flags.namespace !== undefined || flags['containerd-address'] !== undefined)
      ) {
        throw new DrakkarError(
          'invalid_argument',
          '--layers, --namespace and --containerd-address say how to give an image to containerd',
          { hint: 'add --containerd' },
        );
      }
      const client = await context.client();
      const request = { image, platform, layers: !containerd || layers };
      const result = await showing<PullResult>(context, (call) => client.pull(request, call));
      if (result.tagAgeMs !== null) {
        context.say(`the registry is away: this is what the tag meant ${formatAge(result.tagAgeMs)} ago`);
      }
      if (containerd) {
        const address = flags['containerd-address'] ?? (await findPlace()).socket;
        const namespace = flags.namespace ?? CONTAINERD_NAMESPACE;
        await toContainerd(context, client, result, { address, namespace, layers, platform });
        context.answer(
          { ...result, namespace },
          `${result.image}\n${result.manifestDigest}\nis in containerd’s namespace ${namespace}, not unpacked: ctr --namespace ${namespace} run --snapshotter drakkar ${result.image} NAME`,
        );
        return;
      }
      context.answer(
        result,
        `${result.image}\n${result.manifestDigest}\n` +
          `${formatCount(result.layers, 'layer')}, ${formatBytes(result.sizeBytes)} in ${formatDuration(result.elapsedMs)}: ` +
          `${describeReceipt(result.receipt)}\n${describeFlow(result.receipt)}`,
      );
    },
  }),
];

interface Destination {
  readonly address: string;
  readonly namespace: string;
  readonly layers: boolean;
  readonly platform: string | undefined;
}

async function toContainerd(
  context: Context,
  client: AdminClient,
  pulled: PullResult,
  { address, namespace, layers, platform }: Destination,
): Promise<void> {
  const [{ ContainerdClient }, { giveImage }] = await Promise.all([
    import('@drakkar/containerd'),
    import('../containerd/give-image.ts'),
  ]);
  await using containerd = await ContainerdClient.open(address, namespace, context.signal);
  const wanted = platform === undefined ? hostPlatform() : parsePlatform(platform);
  const choices = { withLayers: layers, platform: wanted, signal: context.signal };
  if (await giveImage(containerd, client, pulled, choices)) return;
  context.say('it has no snapshot yet: that is made first');
  const { image } = pulled;
  await showing<BuildResult>(context, (call) => client.buildSnapshot({ image, platform }, call));
  if (await giveImage(containerd, client, pulled, choices)) return;
  throw new DrakkarError('internal', `containerd would have to unpack ${image}, though it has a snapshot`, {
    hint: 'look at the daemon’s log',
  });
}
