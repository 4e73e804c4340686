import { useEffect, useRef } from 'preact/hooks';
import { call, Problem } from './api.ts';
import { useData } from './data.ts';
import type { Status, WhoAmI } from './documents.ts';
import { listen } from './events.ts';
import { clock, duration } from './format.ts';
import { route } from './location.ts';
import { nowMs } from './now.ts';
import { BlobPage } from './pages/blob.tsx';
import { BlobsPage } from './pages/blobs.tsx';
import { HostPage } from './pages/host.tsx';
import { HostsPage } from './pages/hosts.tsx';
import { JobPage } from './pages/job.tsx';
import { JobsPage } from './pages/jobs.tsx';
import { NewJobPage } from './pages/new-job.tsx';
import { NewPolicyPage } from './pages/new-policy.tsx';
import { NotFoundPage } from './pages/not-found.tsx';
import { OverviewPage } from './pages/overview.tsx';
import { PoliciesPage } from './pages/policies.tsx';
import { PolicyPage } from './pages/policy.tsx';
import { SignInPage } from './pages/sign-in.tsx';
import { SnapshotPage } from './pages/snapshot.tsx';
import { SnapshotsPage } from './pages/snapshots.tsx';
import { TopologyPage } from './pages/topology.tsx';
import { WebhooksPage } from './pages/webhooks.tsx';
import { AwayBanner, Connection } from './parts/connection.tsx';
import { Navigation } from './parts/navigation.tsx';
import { SearchBox } from './parts/search-box.tsx';
import type { Route } from './route.ts';
import { access, askForToken, caller, signOut, token } from './session.ts';

const RETRY_MS = 2_000;

/** The console: who may look sees it, the others are asked who they are. */
export function App() {
  const isUnknown = access.value === 'unknown';
  useEffect(() => {
    if (!isUnknown) return;
    const timer = { id: 0 };
    const look = () =>
      call<WhoAmI>('/whoami').then(
        (known) => {
          caller.value = known;
          access.value = 'open';
        },
        (cause) => {
          // Who may not is told so by `call`; who was not answered asks again.
          if (!(cause instanceof Problem) || cause.status !== 401) timer.id = setTimeout(look, RETRY_MS);
        },
      );
    void look();
    return () => clearTimeout(timer.id);
  }, [isUnknown]);
  if (access.value === 'closed' || access.value === 'asked') return <SignInPage />;
  return isUnknown ? <p class="waiting first">Connecting…</p> : <Shell key={token.value} />;
}

function Shell() {
  const { value: status } = useData<Status>('/status', {
    everyMs: 10_000,
    topics: ['host', 'job', 'snapshot'],
  });
  const main = useRef<HTMLElement>(null);
  useEffect(() => {
    const ended = new AbortController();
    void listen(ended.signal);
    return () => ended.abort();
  }, []);
  const { page, id } = route.value;
  return (
    <div class="shell">
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to the page
      </button>
      <header class="rail">
        <a class="brand" href="#/overview">
          <img src="icon.svg" width="24" height="24" alt="" />
          Drakkar
        </a>
        <SearchBox />
        <Navigation status={status} />
        <div class="rail-foot">
          <Connection />
          {status !== null && (
            <p class="quiet rail-version">
              {status.version}, up {duration(status.uptimeMs)}
            </p>
          )}
          <Caller />
          <SessionButton />
        </div>
      </header>
      <main id="main" ref={main} tabIndex={-1}>
        <AwayBanner />
        <PageOf key={`${page}/${id}`} page={page} id={id} />
      </main>
    </div>
  );
}

function Caller() {
  if (caller.value === null) return null;
  const { name, role, expiresAtMs } = caller.value;
  return (
    <p class="quiet wrap">
      {name}, {role}
      {expiresAtMs !== null && `, until ${clock(expiresAtMs, nowMs.value)}`}
    </p>
  );
}

function SessionButton() {
  if (token.value !== null) {
    return (
      <button type="button" class="link" onClick={() => signOut()}>
        Sign out
      </button>
    );
  }
  return (
    <button type="button" class="link" onClick={askForToken}>
      Sign in
    </button>
  );
}

function PageOf({ page, id }: Pick<Route, 'page' | 'id'>) {
  if (id !== null) {
    if (page === 'blobs') return <BlobPage digest={id} />;
    if (page === 'snapshots') return <SnapshotPage manifest={id} />;
    if (page === 'jobs') return id === 'new' ? <NewJobPage /> : <JobPage id={id} />;
    if (page === 'hosts') return <HostPage peer={id} />;
    if (page === 'policies') return id === 'new' ? <NewPolicyPage /> : <PolicyPage id={id} />;
    return <NotFoundPage />;
  }
  const Found = PAGES[page] ?? NotFoundPage;
  return <Found />;
}

const PAGES: Readonly<Record<string, () => preact.JSX.Element>> = {
  overview: OverviewPage,
  topology: TopologyPage,
  blobs: BlobsPage,
  snapshots: SnapshotsPage,
  jobs: JobsPage,
  hosts: HostsPage,
  policies: PoliciesPage,
  webhooks: WebhooksPage,
};
