import type { ComponentChildren } from 'preact';
import { useData } from '../data.ts';
import type { Job, Overview, Page as PageOf, RecentStart, TrafficPoint } from '../documents.ts';
import { ago, bytes, count, duration, percentage } from '../format.ts';
import { isEnded, subjectOf, withJob } from '../model/jobs.ts';
import { nowMs } from '../now.ts';
import { StartsHistogram } from '../parts/histogram.tsx';
import { JobMeter } from '../parts/job-meter.tsx';
import { Mark } from '../parts/mark.tsx';
import { ProblemNotice, Waiting } from '../parts/notice.tsx';
import { Page } from '../parts/page.tsx';
import { RatesChart } from '../parts/rates.tsx';
import { Section } from '../parts/section.tsx';
import { Subject } from '../parts/subject.tsx';
import { Supernodes } from '../parts/supernodes.tsx';
import { Table } from '../parts/table.tsx';
import { routeHref } from '../route.ts';
import { FirstRun } from './first-run.tsx';

const POINTS = 120;
const HOST_STATES = ['connected', 'away', 'quarantined', 'revoked'] as const;

export function OverviewPage() {
  const { value, problem } = useData<Overview>('/overview', {
    everyMs: 5_000,
    topics: ['traffic', 'host'],
    merge: (overview, topic, data) =>
      topic === 'traffic' ? withPoint(overview, data as TrafficPoint) : null,
  });
  if (value !== null && HOST_STATES.every((state) => value.hosts[state] === 0)) return <FirstRun />;
  return (
    <Page title="Overview">
      {value === null ? (
        <Waiting problem={problem} />
      ) : (
        <>
          <ProblemNotice problem={problem} />
          <Figures overview={value} />
          <div class="columns">
            <Section title="Cold starts" note="From the request until the root file system is ready">
              {value.starts.count === 0 ? (
                <p class="none">No container has started yet.</p>
              ) : (
                <StartsHistogram starts={value.starts} />
              )}
            </Section>
            <Section title="Traffic" note="All hosts, the last ten minutes">
              <RatesChart history={value.history} />
            </Section>
          </div>
          <ActiveJobs />
          <Supernodes />
          <RecentStarts starts={value.starts.recent} />
        </>
      )}
    </Page>
  );
}

function withPoint(overview: Overview, point: TrafficPoint): Overview {
  const history = [...overview.history.filter(({ atMs }) => atMs !== point.atMs), point].slice(-POINTS);
  return { ...overview, history };
}

function Figures({
  overview: { hosts, traffic, starts, jobs, snapshots, blobs },
}: {
  readonly overview: Overview;
}) {
  const moved = traffic.peerBytes + traffic.upstreamBytes;
  const saved = moved === 0 ? 0 : traffic.peerBytes / moved;
  const members = HOST_STATES.reduce((sum, state) => sum + hosts[state], 0);
  return (
    <section class="figures" aria-label="Figures">
      <Figure label="Hosts connected" value={count(hosts.connected)} unit={`of ${count(members)}`}>
        <ul class="states">
          {HOST_STATES.slice(1).map((state) => (
            <li key={state}>
              <a href={routeHref('hosts', { query: { state } })}>
                <Mark state={state} text={`${count(hosts[state])} ${state}`} />
              </a>
            </li>
          ))}
        </ul>
      </Figure>
      <Figure label="Origin traffic saved" value={moved === 0 ? '–' : percentage(saved)}>
        <div class="split" aria-hidden="true">
          <span style={{ flexGrow: String(saved) }} />
        </div>
        <p>
          {bytes(traffic.peerBytes)} from peers, {bytes(traffic.upstreamBytes)} from origins
        </p>
      </Figure>
      <Figure
        label="Half of the starts take"
        value={starts.p50Ms === null ? '–' : duration(starts.p50Ms)}
        unit="or less"
      >
        <p>
          {starts.p99Ms === null
            ? 'No container has started yet.'
            : `${duration(starts.p99Ms)} at the 99th percentile, ${count(starts.count)} starts`}
        </p>
      </Figure>
      <Figure label="Jobs active" value={count(jobs.active)}>
        <p>
          <a href={routeHref('snapshots')}>{count(snapshots)} snapshots</a>,{' '}
          <a href={routeHref('blobs')}>{count(blobs)} blobs</a>
        </p>
      </Figure>
    </section>
  );
}

interface FigureProps {
  readonly label: string;
  readonly value: string;
  readonly unit?: string;
  readonly children?: ComponentChildren;
}

function Figure({ label, value, unit, children }: FigureProps) {
  return (
    <div class="figure">
      <h2>{label}</h2>
      <p class="figure-value">
        {value} {unit !== undefined && <span class="figure-unit">{unit}</span>}
      </p>
      <div class="figure-more">{children}</div>
    </div>
  );
}

function ActiveJobs() {
  const { value } = useData<PageOf<Job>>('/jobs?active=true&limit=20', {
    topics: ['job'],
    merge: (page, _topic, data) => withJob(page, data as Job, true),
  });
  const active = value?.items.filter((job) => !isEnded(job)).slice(0, 8) ?? [];
  return (
    <Section title="Active jobs" note={<a href={routeHref('jobs')}>All jobs</a>}>
      <Table
        caption="Active jobs"
        isCaptionHidden
        rows={active}
        keyOf={({ id }) => id}
        empty="Nothing to do at the moment."
        columns={[
          {
            title: 'Job',
            isHeader: true,
            cell: (job) => (
              <a href={routeHref('jobs', { id: job.id })}>
                {job.spec.kind} <Subject text={subjectOf(job)} />
              </a>
            ),
          },
          { title: 'State', cell: ({ state }) => <Mark state={state} /> },
          { title: 'Progress', cell: (job) => <JobMeter job={job} /> },
        ]}
      />
    </Section>
  );
}

function RecentStarts({ starts }: { readonly starts: readonly RecentStart[] }) {
  return (
    <Section title="Recent starts">
      <Table
        caption="Recent starts"
        isCaptionHidden
        rows={starts.slice(0, 10)}
        keyOf={({ atMs, peer, image }) => `${atMs} ${peer} ${image}`}
        empty="No container has started yet."
        columns={[
          { title: 'Image', isHeader: true, cell: ({ image }) => <Subject text={image} /> },
          {
            title: 'Host',
            isOneLine: true,
            cell: ({ host, peer }) => <a href={routeHref('hosts', { id: peer })}>{host}</a>,
          },
          { title: 'Found', isExtra: true, cell: ({ found }) => found },
          { title: 'Took', isNumber: true, cell: ({ totalMs }) => duration(totalMs) },
          { title: 'When', isNumber: true, isExtra: true, cell: ({ atMs }) => ago(atMs, nowMs.value) },
        ]}
      />
    </Section>
  );
}
