import { isDigest } from '@drakkar/protocol';
import { z } from 'zod';
import { pushedOf } from '../notification.ts';
import { isKnown, optionalText, readAs, registryOf, type Shape, text } from './shape.ts';

const packageSchema = z.object({
  name: text,
  namespace: optionalText,
  owner: z.object({ login: optionalText }).nullish(),
  package_type: optionalText,
  registry: z.object({ type: optionalText }).nullish(),
  package_version: z
    .object({
      version: optionalText,
      container_metadata: z
        .object({ tag: z.object({ name: optionalText, digest: optionalText }).nullish() })
        .nullish(),
    })
    .nullish(),
});

const schema = z
  .object({
    action: text,
    package: packageSchema.nullish(),
    registry_package: packageSchema.nullish(),
  })
  .transform(({ action, ...either }) => ({ action, item: either.registry_package ?? either.package ?? null }))
  .refine(({ item }) => item !== null, 'tells of no package');

const EVENTS: ReadonlySet<string> = new Set(['package', 'registry_package']);

/** GitHub's packages that are containers. It calls a hook for other events, too: at least once to try it. */
export const ghcr: Shape = (body, headers, context) => {
  const event = headers['x-github-event'];
  if (typeof event === 'string' && !EVENTS.has(event)) return [];
  const { action, item } = readAs(schema, body, 'GitHub');
  if (item === null || action !== 'published' || !isContainer(item)) return [];
  const owner = item.owner?.login ?? item.namespace;
  const tag = item.package_version?.container_metadata?.tag;
  return [
    pushedOf({
      registry: registryOf(context, 'ghcr.io'),
      // An owner's name may have capitals, and references to its images have none.
      repository: owner == null ? null : `${owner}/${item.name}`.toLowerCase(),
      tag: tag?.name,
      // A version of a container is called by its digest.
      digest: [tag?.digest, item.package_version?.version].find(isDigest),
    }),
  ].filter(isKnown);
};

function isContainer({ package_type, registry }: z.output<typeof packageSchema>): boolean {
  return [package_type, registry?.type].some((type) => type?.toLowerCase() === 'container');
}
