import { MEDIA_TYPES } from '@drakkar/protocol';
import { z } from 'zod';
import { pushedOf } from '../notification.ts';
import { events, isKnown, optionalText, readAs, readEach, registryOf, type Shape, text } from './shape.ts';

const envelopeSchema = z.object({ events });

const eventSchema = z.object({
  action: text,
  target: z.object({
    mediaType: optionalText,
    repository: text,
    tag: optionalText,
    digest: optionalText,
    url: optionalText,
  }),
  request: z.object({ host: optionalText }).nullish(),
});

const ACTIONS: ReadonlySet<string> = new Set(['push', 'mount']);

const MANIFEST_TYPES: ReadonlySet<string> = new Set([
  MEDIA_TYPES.ociIndex,
  MEDIA_TYPES.ociManifest,
  MEDIA_TYPES.dockerIndex,
  MEDIA_TYPES.dockerManifest,
]);

/** The CNCF's registry, and those that are built from it, as GitLab's. It tells of blobs, pulls and deletions, too. */
export const distribution: Shape = (body, _headers, context) =>
  readEach(eventSchema, readAs(envelopeSchema, body, 'a registry of the CNCF').events)
    .filter(({ action, target }) => ACTIONS.has(action) && isManifest(target))
    .map(({ target, request }) =>
      pushedOf({ ...target, registry: registryOf(context, request?.host ?? hostOf(target.url)) }),
    )
    .filter(isKnown);

type Target = z.output<typeof eventSchema>['target'];

function isManifest({ mediaType, url }: Target): boolean {
  if (mediaType == null || mediaType === '') return url?.includes('/manifests/') ?? false;
  return MANIFEST_TYPES.has(mediaType);
}

function hostOf(url: string | null | undefined): string | undefined {
  return url == null ? undefined : URL.parse(url)?.host;
}
