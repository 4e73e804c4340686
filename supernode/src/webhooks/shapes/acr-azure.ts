import { z } from 'zod';
import { pushedOf } from '../notification.ts';
import { events, isKnown, optionalText, readAs, readEach, registryOf, type Shape, text } from './shape.ts';

const SENDER = 'an Azure container registry';

/** A registry's own notification, and what Event Grid has for `data`. */
const notificationSchema = z.object({
  action: text,
  target: z.object({ repository: optionalText, tag: optionalText, digest: optionalText }).nullish(),
  request: z.object({ host: optionalText }).nullish(),
});

/** `eventType` in Event Grid's own schema, `type` in CloudEvents. */
const gridSchema = z
  .object({ eventType: text.optional(), type: text.optional(), data: z.unknown() })
  .transform(({ eventType, type, data }) => ({ type: eventType ?? type ?? null, data }))
  .refine(({ type }) => type !== null, 'has no type of event');

const validationSchema = z.object({ validationCode: text.min(1) });

const PUSHED = 'Microsoft.ContainerRegistry.ImagePushed';
const VALIDATION = 'Microsoft.EventGrid.SubscriptionValidationEvent';

/** Azure's registries, by their own webhooks and by Event Grid in either of its schemas. */
export const acrAzure: Shape = (body, _headers, context) =>
  notificationsOf(body)
    .filter(({ action }) => action === 'push')
    .map(({ target, request }) =>
      pushedOf({
        registry: registryOf(context, request?.host),
        repository: target?.repository,
        tag: target?.tag,
        digest: target?.digest,
      }),
    )
    .filter(isKnown);

function notificationsOf(body: unknown): z.output<typeof notificationSchema>[] {
  const grid = gridEventsOf(body);
  if (grid === undefined) return [readAs(notificationSchema, body, SENDER)];
  const pushes = grid.filter(({ type }) => type === PUSHED).map(({ data }) => data);
  return readEach(notificationSchema, pushes);
}

/** Nothing where it does not come from Event Grid, which sends several in its own schema, and one or several in CloudEvents. */
function gridEventsOf(body: unknown): z.output<typeof gridSchema>[] | undefined {
  if (Array.isArray(body)) return readEach(gridSchema, readAs(events, body, SENDER));
  const isCloudEvent = typeof body === 'object' && body !== null && 'specversion' in body;
  return isCloudEvent ? [readAs(gridSchema, body, SENDER)] : undefined;
}

/**
 * What Event Grid waits for before it sends anything else: the code that it has sent. Nothing where it asks for none.
 *
 * @throws `invalid_argument` as {@link acrAzure} does
 */
export function validationAnswer(body: unknown): { validationResponse: string } | undefined {
  const asked = gridEventsOf(body)?.filter(({ type }) => type === VALIDATION) ?? [];
  const [code] = readEach(
    validationSchema,
    asked.map(({ data }) => data),
  );
  return code && { validationResponse: code.validationCode };
}
