import { DrakkarError } from '@drakkar/protocol';
import { z } from 'zod';
import { canonicalRegistry, type Pushed, pushedByReference } from '../notification.ts';
import { type DeliveryContext, events, isKnown, optionalText, type Shape, text } from './shape.ts';

const imagesSchema = z.object({ images: events });
const imageSchema = z.object({
  registry: optionalText,
  repository: text,
  tag: optionalText,
  digest: optionalText,
});

const EXPECTED = '{"images": ["registry/repository:tag", …]}';

/**
 * What a script sends: `{"images": ["registry/repository:tag", …]}`, or one image in its parts. Both mean what they mean in a command:
 * Docker Hub where no registry is named, `latest` where neither a tag nor a digest is. Parts without a registry are of the hook's.
 * A registry tells of much that is no image; a script that names none where it names something is wrong.
 */
export const generic: Shape = (body, _headers, context) => {
  const named = namedIn(body, context);
  const pushes = named.filter(isKnown);
  if (named.length > 0 && pushes.length === 0) throw notExpected('it names no image');
  return pushes;
};

function namedIn(body: unknown, context: DeliveryContext): (Pushed | undefined)[] {
  if (typeof body === 'object' && body !== null && 'images' in body) {
    const { data, error } = imagesSchema.safeParse(body);
    if (data === undefined) throw notExpected(`images: ${error.issues[0]?.message}`);
    return data.images.map((image) => pushedByReference(text.safeParse(image).data ?? ''));
  }
  const { data } = imageSchema.safeParse(body);
  if (data === undefined) throw notExpected('it has neither images nor a repository');
  return [pushedByParts(data, context.registry)];
}

const notExpected = (why: string): DrakkarError =>
  new DrakkarError(
    'invalid_argument',
    `this is no notification of a script: ${why}; ${EXPECTED} is expected`,
  );

function pushedByParts(image: z.output<typeof imageSchema>, ofHook: string | null): Pushed | undefined {
  const registry = image.registry ?? ofHook;
  // Without its dot a host would be taken for a part of the repository's name.
  if (registry !== null && canonicalRegistry(registry) === undefined) return undefined;
  const { repository, tag, digest } = image;
  return pushedByReference(
    [
      registry === null ? '' : `${registry}/`,
      repository,
      tag == null ? '' : `:${tag}`,
      digest == null ? '' : `@${digest}`,
    ].join(''),
  );
}
