import type { HookKind } from './kinds.ts';
import { merge, type Pushed } from './notification.ts';
import { acrAliyun } from './shapes/acr-aliyun.ts';
import { acrAzure, validationAnswer } from './shapes/acr-azure.ts';
import { distribution } from './shapes/distribution.ts';
import { dockerHub } from './shapes/docker-hub.ts';
import { generic } from './shapes/generic.ts';
import { ghcr } from './shapes/ghcr.ts';
import { harbor } from './shapes/harbor.ts';
import type { DeliveryContext, DeliveryHeaders, Shape } from './shapes/shape.ts';

const SHAPES: Readonly<Record<HookKind, Shape>> = {
  distribution,
  harbor,
  'docker-hub': dockerHub,
  ghcr,
  'acr-azure': acrAzure,
  'acr-aliyun': acrAliyun,
  generic,
};

export interface Delivery {
  /** May be empty: senders tell of other things than pushes, too. */
  readonly pushed: readonly Pushed[];
  /** The JSON that the sender waits for, where it does. */
  readonly answer?: object;
}

/**
 * What a delivery says, each push once.
 *
 * @param body the JSON that was sent
 * @throws `invalid_argument` for what senders of this kind do not send
 */
export function readDelivery(
  kind: HookKind,
  body: unknown,
  headers: DeliveryHeaders,
  context: DeliveryContext,
): Delivery {
  const pushed = merge(SHAPES[kind](body, headers, context));
  const answer = kind === 'acr-azure' ? validationAnswer(body) : undefined;
  return answer === undefined ? { pushed } : { pushed, answer };
}
