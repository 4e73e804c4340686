import type { PeerId } from '@drakkar/protocol';
import type { Traces, Tracing } from '@drakkar/service';
import type { Logger } from 'pino';
import {
  type ApiHandler,
  type ApiModules,
  Audit,
  createApi,
  Events,
  type MembersApi,
  setOrigin,
  Tokens,
} from './api/index.ts';
import type { SupernodeConfig } from './config.ts';
import { type Control, clockMs, type HostEvents } from './control/control.ts';
import { clusterOf, isEnded, Jobs } from './jobs/index.ts';
import { Kubernetes } from './kubernetes/kubernetes.ts';
import type { Members } from './members/members.ts';
import type { SupernodeMetrics } from './metrics.ts';
import { Policies } from './policies/index.ts';
import type { SnapshotCatalogue } from './snapshots/catalogue.ts';
import { type StateStore, WriteBehind } from './state/index.ts';
import { Traffic } from './traffic/traffic.ts';
import { Views } from './views.ts';
import { Hooks } from './webhooks/index.ts';

export interface LeadModules {
  readonly self: PeerId;
  /** What only the one that leads changes. */
  readonly state: StateStore;
  readonly control: Control;
  readonly members: Members;
  readonly membersApi: Omit<MembersApi, 'list' | 'find'>;
  readonly catalogue: SnapshotCatalogue;
  readonly traces: Traces;
  readonly metrics: SupernodeMetrics;
  readonly log: Logger;
  readonly tracing: Tracing;
  /** Whether nobody else can lead at the moment. */
  readonly isSure: () => boolean;
  status(jobs: number): ReturnType<ApiModules['status']>;
}

/** What one supernode does for the cluster, alone or as the one of several that leads: jobs, policies, webhooks, and the API over all. */
export interface Lead extends AsyncDisposable {
  readonly hosts: HostEvents;
  readonly handle: ApiHandler;
  readonly activeJobs: number;
  readonly listeners: number;
  readonly traffic: Pick<Traffic, 'upstreamBytes' | 'peerBytes'>;
  /** Whether what must not be forgotten can't be written. */
  readonly isStateAway: boolean;
}

/** What hosts move is remembered this often, for ten minutes. */
const SAMPLE_MS = 5_000;

/** Goes on with all that was not done. @throws `unavailable` where the state is away */
export async function startLead(
  { api: options, kubernetes: inKubernetes }: Pick<SupernodeConfig, 'api' | 'kubernetes'>,
  modules: LeadModules,
  isSecure: boolean,
): Promise<Lead> {
  const { self, state, control, members, membersApi, catalogue, traces, metrics, log, tracing, isSure } =
    modules;
  await using stack = new AsyncDisposableStack();
  const writer = stack.use(
    new WriteBehind(state, (error) => {
      if (error === undefined) log.info('what must not be forgotten is written again');
      else log.error({ error }, 'what must not be forgotten can’t be written: it is kept, and tried again');
    }),
  );
  const clock = { wallMs: Date.now, evenMs: clockMs, chance: Math.random };
  const kubernetes = new Kubernetes(inKubernetes);
  const cluster = clusterOf(control, members, kubernetes);
  const jobs = stack.use(await Jobs.open({ state, writer, cluster, clock, log, tracing, isSure }));
  const policies = stack.use(
    await Policies.open({
      ...{ state, jobs, log, tracing, nowMs: Date.now },
      forgetUnused: (isOf, unusedMs) => catalogue.forgetUnused(isOf, Date.now() - unusedMs),
    }),
  );
  stack.use(kubernetes);
  await kubernetes.start({
    ...{ state, jobs, policies, self, log },
    hosts: () => control.swarm.hosts.values(),
    joining: () => membersApi.joinToken(),
  });
  const hooks = new Hooks({ state, pushed: (images) => policies.pushed(images), nowMs: Date.now });
  const events = new Events();
  const traffic = new Traffic();
  const views = new Views({ control, members, catalogue, traces, traffic, jobs });
  stack.use(
    jobs.onChange((job) => {
      events.tell('job', job);
      if (isEnded(job)) metrics.jobsEnded.inc({ kind: job.spec.kind, state: job.state });
    }),
  );
  const sampling = setInterval(() => events.tell('traffic', traffic.sample(Date.now())), SAMPLE_MS);
  stack.defer(() => clearInterval(sampling));
  const tokens = stack.use(await Tokens.open(state));
  const api = await createApi(
    {
      ...{ jobs, tokens, events, policies, hooks, metrics, tracing },
      members: { ...membersApi, list: () => views.hosts(), find: (peer) => views.host(peer) },
      audit: new Audit(state, writer),
      status: () => modules.status(jobs.active),
      overview: () => views.overview(),
      topology: () => views.topology(),
      blobs: () => views.blobs(),
      blob: (digest) => views.blob(digest),
      snapshots: (page) => views.snapshots(page),
      snapshot: (manifest) => views.snapshot(manifest),
    },
    {
      ...{
        isSecure,
        anonymousViewers: options.anonymousViewers,
        requestsPerMinute: options.requestsPerMinute,
      },
      onDefect: (error, { method, routeOptions }) =>
        log.error({ error, method, route: routeOptions.url }, 'a request failed'),
    },
  );
  stack.defer(() => api.close());
  const answers = new Set<Parameters<ApiHandler>[1]>();
  stack.defer(() => {
    for (const response of answers) response.destroy();
  });
  const tellOfHost = (peer: PeerId) => {
    const host = views.host(peer);
    if (host !== undefined) events.tell('host', host);
  };
  const hosts: HostEvents = {
    came: (host) => {
      jobs.came(kubernetes.placed(host));
      tellOfHost(host.peer);
    },
    left: (peer) => {
      traffic.left(peer);
      jobs.left(peer);
      tellOfHost(peer);
    },
    beat: (peer, heartbeat) => {
      const { name = peer } = control.swarm.hosts.get(peer) ?? {};
      traffic.beat(peer, name, heartbeat, clockMs(), Date.now());
      for (const { found, totalMs } of heartbeat.starts)
        metrics.startSeconds.observe({ found: foundOf(found) }, totalMs / 1000);
    },
    heard: (peer, report) => jobs.heard(peer, report),
    firstPull: (peer, { image, sizeBytes }) => {
      if (image !== undefined)
        policies.firstPull(peer, image.reference, image.platform || undefined, Number(sizeBytes));
    },
  };
  const running = stack.move();
  return {
    hosts,
    traffic,
    get activeJobs() {
      return jobs.active;
    },
    get listeners() {
      return events.listeners;
    },
    get isStateAway() {
      return writer.failure !== undefined;
    },
    handle: (request, response, origin) => {
      setOrigin(request, origin);
      answers.add(response);
      response.once('close', () => answers.delete(response));
      api.routing(request, response);
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

const FOUND: ReadonlySet<string> = new Set(['here', 'cluster', 'registry', 'built']);

/** Hosts may say anything, and a metric's labels are kept for ever. */
const foundOf = (text: string): string => (FOUND.has(text) ? text : 'other');
