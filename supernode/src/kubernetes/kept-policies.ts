import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import {
  type KeptPolicies,
  type PolicyFigures,
  type PolicyRules,
  type PullSecrets,
  whyInvalid,
} from '@drakkar/kubernetes';
import { DrakkarError, parseReference, type RegistryCredential } from '@drakkar/protocol';
import type { Job } from '../jobs/index.ts';
import {
  creatorOf,
  type Policies,
  type Policy,
  type PolicyRequest,
  policyRequest,
} from '../policies/index.ts';
import { BY } from './orders.ts';
import { targetOf } from './target.ts';

/** How policies are called that were made of SnapshotPolicies. */
const PREFIX = 'kubernetes-';
const NAME = /^[a-z0-9-]{1,50}$/;
const MAX_LENT = 10_000;

/** SnapshotPolicies as policies of the supernode. Whatever people make of these elsewhere, they say again what was written in Kubernetes. */
export class PoliciesOfKubernetes implements KeptPolicies {
  readonly #policies: Policies;
  /** What registries may be shown, by policy and image; the one that was wanted longest ago goes. */
  readonly #lent = new Map<string, PullSecrets>();
  /** For all that a policy wants. */
  readonly #secrets = new Map<string, PullSecrets>();

  constructor(policies: Policies) {
    this.#policies = policies;
  }

  async keep(name: string, rules: PolicyRules, secrets: PullSecrets): Promise<void> {
    const request = requestOf(name, rules);
    this.#secrets.set(creatorOf(request), secrets);
    const known = this.#find(name);
    if (known === undefined) await this.#policies.create(request, BY);
    else if (!isSame(known, request)) await this.#policies.change(known.id, request);
  }

  async remove(name: string): Promise<void> {
    const known = this.#find(name);
    if (known !== undefined) await this.#remove(known);
  }

  async retain(names: Iterable<string>): Promise<void> {
    const kept = new Set(Iterator.from(names).map(nameOf));
    const { items } = this.#policies.page({ after: PREFIX, limit: Number.POSITIVE_INFINITY });
    const isOurs = ({ name, createdBy }: Policy) => name.startsWith(PREFIX) && createdBy === BY;
    for (const policy of items.filter(isOurs)) if (!kept.has(policy.name)) await this.#remove(policy);
  }

  async figuresOf(name: string): Promise<PolicyFigures> {
    const known = this.#find(name);
    if (known === undefined) return { images: 0, pending: 0 };
    const { length: images } = await this.#policies.matching(known);
    return { images, pending: this.#policies.pendingOf(known.id) };
  }

  async want(name: string, images: readonly string[], secrets: PullSecrets, isAgain: boolean): Promise<void> {
    const known = this.#find(name);
    if (known === undefined) return;
    const wanted = await this.#policies.want(known.id, images, isAgain);
    for (const image of wanted) this.#lend(known, image, secrets);
  }

  /** What a registry may be shown for a job that a policy wanted. */
  credentialFor({ createdBy, spec }: Job): RegistryCredential | undefined {
    if (!('image' in spec) || spec.image === undefined) return undefined;
    const lent = this.#lent.get(`${createdBy} ${spec.image}`) ?? this.#secrets.get(createdBy);
    return lent?.of(parseReference(spec.image));
  }

  async #remove(policy: Policy): Promise<void> {
    this.#secrets.delete(creatorOf(policy));
    await this.#policies.remove(policy.id);
  }

  #lend(policy: Policy, image: string, secrets: PullSecrets): void {
    const key = `${creatorOf(policy)} ${image}`;
    this.#lent.delete(key);
    this.#lent.set(key, secrets);
    const [oldest] = this.#lent.keys();
    if (this.#lent.size > MAX_LENT && oldest !== undefined) this.#lent.delete(oldest);
  }

  #find(name: string): Policy | undefined {
    return this.#policies.named(nameOf(name));
  }
}

/** Names of resources may be longer than those of policies, and hold dots. */
const nameOf = (name: string): string =>
  NAME.test(name)
    ? PREFIX + name
    : `${PREFIX}${createHash('sha256').update(name).digest('hex').slice(0, 40)}`;

/** @throws `invalid_argument` with what people are to write otherwise */
function requestOf(name: string, rules: PolicyRules): PolicyRequest {
  const { isOn, images, onPush, onFirstPull, distribution, ...rest } = rules;
  const distribute =
    distribution.scope === 'None'
      ? null
      : {
          ...{ content: 'snapshot', parallelism: distribution.parallelism },
          target: targetOf(distribution),
        };
  const request = {
    ...{ name: nameOf(name), enabled: isOn, images, distribute, push: false },
    ...{ on: { push: onPush, firstPull: onFirstPull }, ...rest },
  };
  const parsed = policyRequest.safeParse(request);
  if (parsed.success) return parsed.data;
  throw new DrakkarError('invalid_argument', whyInvalid(parsed.error, request));
}

function isSame(policy: Policy, request: PolicyRequest): boolean {
  const { id: _, createdAtMs: __, createdBy: ___, changedAtMs: ____, ...known } = policy;
  return isDeepStrictEqual(known, request);
}
