import { z } from 'zod';
import { canonicalRegistry, type Pushed, pushedByReference } from '../notification.ts';
import { events, isKnown, optionalText, readAs, readEach, type Shape, text } from './shape.ts';

const imagesSchema = z.object({ images: events });
const imageSchema = z.object({
  registry: optionalText,
  repository: text,
  tag: optionalText,
  digest: optionalText,
});

/**
 * What a script sends: `{"images": ["registry/repository:tag", …]}`, or one image in its parts. Both mean what they mean in a command:
 * Docker Hub where no registry is named, `latest` where neither a tag nor a digest is. Parts without a registry are of the hook's.
 */
export const generic: Shape = (body, _headers, context) => {
  const isList = typeof body === 'object' && body !== null && 'images' in body;
  const pushes = isList
    ? readEach(text, readAs(imagesSchema, body, 'a script').images).map(pushedByReference)
    : [pushedByParts(readAs(imageSchema, body, 'a script'), context.registry)];
  return pushes.filter(isKnown);
};

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
