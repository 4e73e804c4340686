import { z } from 'zod';
import { type Pushed, pushedOf } from '../notification.ts';
import {
  type DeliveryContext,
  events,
  isKnown,
  optionalText,
  readAs,
  readEach,
  registryOf,
  type Shape,
  text,
} from './shape.ts';

const typeSchema = z.object({ type: text });

/** The same in both forms. */
const dataSchema = z.object({
  resources: events,
  repository: z.object({ repo_full_name: text }),
});

const classicSchema = z.object({ event_data: dataSchema });
const cloudEventSchema = z.object({ specversion: text, data: dataSchema });

const resourceSchema = z.object({ resource_url: optionalText, digest: optionalText, tag: optionalText });

/** Harbor, in its own form and, of 2.8 and later, as CloudEvents. What was pushed without a tag has its digest for one. */
export const harbor: Shape = (body, _headers, context) => {
  const { type } = readAs(typeSchema, body, 'Harbor');
  if (type === 'PUSH_ARTIFACT') return pushesOf(readAs(classicSchema, body, 'Harbor').event_data, context);
  if (type === 'harbor.artifact.pushed')
    return pushesOf(readAs(cloudEventSchema, body, 'Harbor').data, context);
  return [];
};

function pushesOf(data: z.output<typeof dataSchema>, context: DeliveryContext): Pushed[] {
  return readEach(resourceSchema, data.resources)
    .map(({ resource_url: url, digest, tag }) =>
      pushedOf({
        registry: registryOf(context, hostOf(url)),
        repository: data.repository.repo_full_name,
        tag,
        digest,
      }),
    )
    .filter(isKnown);
}

/** Of `harbor.example.com/library/app:1`, which is no URL. */
function hostOf(resource: string | null | undefined): string | undefined {
  return resource?.replace(/^https?:\/\//, '').split('/', 1)[0];
}
