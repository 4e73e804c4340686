import { DrakkarError } from '@drakkar/errors';
import type { components } from './messages/supernode-api.ts';
import type { JobDocument, JobSpecInput, SupernodeApi, SupernodePlace, SwarmHost } from './supernode-api.ts';
import { pagesOf, supernodeApi } from './supernode-api.ts';

type Documents = components['schemas'];
interface Call {
  readonly signal?: AbortSignal | undefined;
}

const PAGE = 500;

/** A client of a supernode, over its API. Every call may throw what the supernode says; `unavailable` where none answers. */
export class SupernodeClient {
  readonly place: SupernodePlace;
  /** What has no method here. */
  readonly api: SupernodeApi;

  constructor(place: SupernodePlace) {
    this.place = place;
    this.api = supernodeApi(place);
  }

  async status(call: Call = {}): Promise<Documents['Status']> {
    return dataOf(await this.api.GET('/api/v1/status', signalOf(call)));
  }

  /** Who asks, and what they may do. */
  async whoAmI(call: Call = {}): Promise<Documents['WhoAmI']> {
    return dataOf(await this.api.GET('/api/v1/whoami', signalOf(call)));
  }

  /** All of the cluster at a glance. */
  async overview(call: Call = {}): Promise<Documents['Overview']> {
    return dataOf(await this.api.GET('/api/v1/overview', signalOf(call)));
  }

  /** All of them. */
  hosts(
    filter: { readonly q?: string; readonly role?: 'seed' | 'builder' } = {},
    call: Call = {},
  ): Promise<SwarmHost[]> {
    return allOf(async (after) =>
      dataOf(
        await this.api.GET('/api/v1/hosts', {
          params: { query: { ...filter, ...pageOf(after) } },
          ...signalOf(call),
        }),
      ),
    );
  }

  blobs(call: Call = {}): Promise<Documents['Blob'][]> {
    return allOf(async (after) =>
      dataOf(await this.api.GET('/api/v1/blobs', { params: { query: pageOf(after) }, ...signalOf(call) })),
    );
  }

  snapshots(call: Call = {}): Promise<Documents['Snapshot'][]> {
    return allOf(async (after) =>
      dataOf(
        await this.api.GET('/api/v1/snapshots', { params: { query: pageOf(after) }, ...signalOf(call) }),
      ),
    );
  }

  async joinToken(call: Call = {}): Promise<Documents['JoinToken']> {
    return dataOf(await this.api.GET('/api/v1/join-token', signalOf(call)));
  }

  async rotateJoinToken(call: Call = {}): Promise<Documents['JoinToken']> {
    return dataOf(await this.api.POST('/api/v1/join-token/rotate', signalOf(call)));
  }

  async rotateKey(call: Call = {}): Promise<Documents['Status']> {
    return dataOf(await this.api.POST('/api/v1/cluster-key/rotate', signalOf(call)));
  }

  async revoke(peer: string, call: Call = {}): Promise<void> {
    await this.api.POST('/api/v1/hosts/{peer}/revoke', { params: { path: { peer } }, ...signalOf(call) });
  }

  async forget(peer: string, call: Call = {}): Promise<void> {
    await this.api.POST('/api/v1/hosts/{peer}/forget', { params: { path: { peer } }, ...signalOf(call) });
  }

  async forgetAway(awayMs: number, call: Call = {}): Promise<readonly Documents['ForgottenHost'][]> {
    return dataOf(await this.api.POST('/api/v1/hosts/forget', { body: { awayMs }, ...signalOf(call) }));
  }

  /**
   * Asks once more where no answer came: the first request may have been heard.
   *
   * @param requestId whoever asks again with the same one gets the same job
   */
  async createJob(
    spec: JobSpecInput,
    requestId: string = crypto.randomUUID(),
    call: Call = {},
  ): Promise<JobDocument> {
    const create = async () =>
      dataOf(await this.api.POST('/api/v1/jobs', { body: { spec, requestId }, ...signalOf(call) }));
    try {
      return await create();
    } catch (error) {
      if (!(error instanceof DrakkarError) || error.code !== 'unavailable') throw error;
      return await create();
    }
  }

  async job(id: string, call: Call = {}): Promise<JobDocument> {
    return dataOf(await this.api.GET('/api/v1/jobs/{id}', { params: { path: { id } }, ...signalOf(call) }));
  }

  /** The newest first. */
  async jobs(
    { limit = PAGE, active = false }: { readonly limit?: number; readonly active?: boolean } = {},
    call: Call = {},
  ): Promise<readonly JobDocument[]> {
    const query = { limit: Math.min(limit, PAGE), ...(active ? { active: 'true' as const } : {}) };
    return dataOf(await this.api.GET('/api/v1/jobs', { params: { query }, ...signalOf(call) })).items;
  }

  jobHosts(id: string, call: Call = {}): Promise<Documents['HostWork'][]> {
    return allOf(async (after) =>
      dataOf(
        await this.api.GET('/api/v1/jobs/{id}/hosts', {
          params: { path: { id }, query: pageOf(after) },
          ...signalOf(call),
        }),
      ),
    );
  }

  async actOnJob(
    id: string,
    action: 'cancel' | 'pause' | 'resume' | 'retry',
    call: Call = {},
  ): Promise<JobDocument> {
    return dataOf(
      await this.api.POST(`/api/v1/jobs/{id}/${action}`, { params: { path: { id } }, ...signalOf(call) }),
    );
  }

  async removeJob(id: string, call: Call = {}): Promise<void> {
    await this.api.DELETE('/api/v1/jobs/{id}', { params: { path: { id } }, ...signalOf(call) });
  }

  policies(call: Call = {}): Promise<Documents['Policy'][]> {
    return allOf(async (after) =>
      dataOf(await this.api.GET('/api/v1/policies', { params: { query: pageOf(after) }, ...signalOf(call) })),
    );
  }

  async createPolicy(body: Documents['PolicyRequestInput'], call: Call = {}): Promise<Documents['Policy']> {
    return dataOf(await this.api.POST('/api/v1/policies', { body, ...signalOf(call) }));
  }

  async changePolicy(
    id: string,
    body: Documents['PolicyRequestInput'],
    call: Call = {},
  ): Promise<Documents['Policy']> {
    return dataOf(
      await this.api.PUT('/api/v1/policies/{id}', { params: { path: { id } }, body, ...signalOf(call) }),
    );
  }

  async removePolicy(id: string, call: Call = {}): Promise<void> {
    await this.api.DELETE('/api/v1/policies/{id}', { params: { path: { id } }, ...signalOf(call) });
  }

  /** Images that were seen and that a policy would be for. */
  async dryRunPolicy(
    body: Pick<Documents['PolicyRequestInput'], 'images'>,
    call: Call = {},
  ): Promise<Documents['PolicyMatches']['images']> {
    return dataOf(await this.api.POST('/api/v1/policies/dry-run', { body, ...signalOf(call) })).images;
  }

  webhooks(call: Call = {}): Promise<Documents['Webhook'][]> {
    return allOf(async (after) =>
      dataOf(await this.api.GET('/api/v1/webhooks', { params: { query: pageOf(after) }, ...signalOf(call) })),
    );
  }

  /** What came of the last deliveries of one, the newest first. */
  deliveries(id: string, call: Call = {}): Promise<Documents['Delivery'][]> {
    return allOf(async (after) =>
      dataOf(
        await this.api.GET('/api/v1/webhooks/{id}/deliveries', {
          params: { path: { id }, query: pageOf(after) },
          ...signalOf(call),
        }),
      ),
    );
  }

  async createWebhook(
    body: Documents['WebhookRequestInput'],
    call: Call = {},
  ): Promise<Documents['NewWebhook']> {
    return dataOf(await this.api.POST('/api/v1/webhooks', { body, ...signalOf(call) }));
  }

  /**
   * What a delivery would have done.
   *
   * @param delivery an example where it is not given
   */
  async tryWebhook(id: string, delivery?: unknown, call: Call = {}): Promise<Documents['WebhookTrial']> {
    const request = { params: { path: { id } }, body: { delivery } };
    return dataOf(await this.api.POST('/api/v1/webhooks/{id}/try', { ...request, ...signalOf(call) }));
  }

  async removeWebhook(id: string, call: Call = {}): Promise<void> {
    await this.api.DELETE('/api/v1/webhooks/{id}', { params: { path: { id } }, ...signalOf(call) });
  }

  tokens(call: Call = {}): Promise<Documents['Token'][]> {
    return allOf(async (after) =>
      dataOf(await this.api.GET('/api/v1/tokens', { params: { query: pageOf(after) }, ...signalOf(call) })),
    );
  }

  async createToken(body: Documents['TokenRequestInput'], call: Call = {}): Promise<Documents['NewToken']> {
    return dataOf(await this.api.POST('/api/v1/tokens', { body, ...signalOf(call) }));
  }

  async revokeToken(id: string, call: Call = {}): Promise<void> {
    await this.api.DELETE('/api/v1/tokens/{id}', { params: { path: { id } }, ...signalOf(call) });
  }

  audit(limit: number, call: Call = {}): Promise<Documents['AuditEntry'][]> {
    return this.api
      .GET('/api/v1/audit', { params: { query: { limit: Math.min(limit, PAGE) } }, ...signalOf(call) })
      .then((answer) => [...dataOf(answer).items]);
  }
}

const signalOf = ({ signal }: Call) => (signal === undefined ? {} : { signal });
const pageOf = (after: string | undefined) => ({ limit: PAGE, ...(after === undefined ? {} : { after }) });

/** What is no answer has been thrown already. */
function dataOf<Data>({ data }: { readonly data?: Data }): Data {
  return data as Data;
}

async function allOf<Item>(
  page: (
    after: string | undefined,
  ) => Promise<{ readonly items: readonly Item[]; readonly next: string | null }>,
): Promise<Item[]> {
  return await Array.fromAsync(pagesOf(page));
}
