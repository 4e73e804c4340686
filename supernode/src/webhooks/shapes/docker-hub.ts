import { z } from 'zod';
import { pushedOf } from '../notification.ts';
import { isKnown, optionalText, readAs, registryOf, type Shape, text } from './shape.ts';

const schema = z.object({
  push_data: z.object({ tag: optionalText }),
  repository: z.object({ repo_name: text }),
});

/** Docker Hub tells of one tag at a time, and not of its digest. */
export const dockerHub: Shape = (body, _headers, context) => {
  const { push_data, repository } = readAs(schema, body, 'Docker Hub');
  const registry = registryOf(context, 'docker.io');
  return [pushedOf({ registry, repository: repository.repo_name, tag: push_data.tag, digest: null })].filter(
    isKnown,
  );
};
