import { useState } from 'preact/hooks';
import { call, withQuery } from '../api.ts';
import { type Data, useData } from '../data.ts';
import type { HostWork, Job, JobAction, Page as PageOf } from '../documents.ts';
import { ago, bytes, clock, duration } from '../format.ts';
import { goTo } from '../location.ts';
import { actionsOf, isEnded, subjectOf, targetOf } from '../model/jobs.ts';
import { nowMs } from '../now.ts';
import { useAction } from '../parts/action.ts';
import { Actions, RoleNotice } from '../parts/allowed.tsx';
import { ConfirmButton } from '../parts/confirm.tsx';
import { Facts } from '../parts/facts.tsx';
import { JobMeter } from '../parts/job-meter.tsx';
import { Mark } from '../parts/mark.tsx';
import { Meter } from '../parts/meter.tsx';
import { ProblemNotice, Waiting } from '../parts/notice.tsx';
import { Page } from '../parts/page.tsx';
import { Pager } from '../parts/pager.tsx';
import { Section } from '../parts/section.tsx';
import { Table } from '../parts/table.tsx';

export function JobPage({ id }: { readonly id: string }) {
  const path = `/jobs/${encodeURIComponent(id)}`;
  const data = useData<Job>(path, {
    everyMs: 30_000,
    topics: ['job'],
    merge: (known, _topic, changed) => ((changed as Job).id === id ? (changed as Job) : known),
  });
  const { value: job, problem } = data;
  return (
    <Page
      title={job === null ? 'Job' : `${job.spec.kind} ${subjectOf(job)}`}
      lead={<span class="mono">{id}</span>}
    >
      {job === null ? (
        <Waiting problem={problem} />
      ) : (
        <>
          <ProblemNotice problem={problem} />
          <JobActions job={job} path={path} data={data} />
          {job.error !== null && <ErrorNotice job={job} />}
          <Facts
            facts={[
              ['State', <Mark key="state" state={job.state} />],
              ['Progress', <JobMeter key="progress" job={job} />],
              ['Why', job.error === null ? job.reason : null],
              ['For', job.spec.kind === 'build' ? 'one builder' : targetOf(job)],
              ['From peers', bytes(job.bytes.peer)],
              ['From origins', bytes(job.bytes.upstream)],
              [
                'Snapshot',
                job.snapshot === null ? null : `${bytes(job.snapshot.sizeBytes)}, ${job.snapshot.found}`,
              ],
              ['Created', `${clock(job.createdAtMs, nowMs.value)} by ${job.createdBy}`],
              ['Began', job.startedAtMs === null ? null : ago(job.startedAtMs, nowMs.value)],
              ['Took', tookText(job)],
            ]}
          />
          <Hosts job={job} path={path} />
        </>
      )}
    </Page>
  );
}

function tookText({ startedAtMs, endedAtMs }: Job): string | null {
  return startedAtMs === null || endedAtMs === null ? null : duration(endedAtMs - startedAtMs);
}

function ErrorNotice({ job: { error } }: { readonly job: Job }) {
  return (
    <div class="notice bad">
      <p>{error?.message}</p>
      {error?.hint !== undefined && <p class="quiet">{error.hint}</p>}
    </div>
  );
}

const WORDS: Readonly<Record<JobAction, string>> = {
  cancel: 'Cancel',
  pause: 'Pause',
  resume: 'Resume',
  retry: 'Retry',
};

interface JobActionsProps {
  readonly job: Job;
  readonly path: string;
  readonly data: Data<Job>;
}

function JobActions({ job, path, data }: JobActionsProps) {
  const { isBusy, problem, run } = useAction();
  const act = (action: JobAction) =>
    run(async () => data.set(await call<Job>(`${path}/${action}`, { method: 'POST' })));
  const remove = () =>
    run(async () => {
      await call(path, { method: 'DELETE' });
      goTo('jobs');
    });
  return (
    <>
      <RoleNotice needs={[{ role: 'operator', what: 'change jobs' }]} />
      <Actions label="What can be done with this job" needs="operator" isBusy={isBusy}>
        {actionsOf(job).map((action) =>
          action === 'cancel' ? (
            <ConfirmButton
              key={action}
              label="Cancel job"
              question="Cancel this job?"
              onConfirm={() => act(action)}
            >
              Hosts give up what they are at. What they have stays. You can retry it later.
            </ConfirmButton>
          ) : (
            <button key={action} type="button" onClick={() => act(action)}>
              {WORDS[action]}
            </button>
          ),
        )}
        {isEnded(job) && (
          <ConfirmButton label="Forget job" question="Forget this job?" onConfirm={remove}>
            It leaves the list. What hosts have stays.
          </ConfirmButton>
        )}
      </Actions>
      <ProblemNotice problem={problem} />
    </>
  );
}

const LIMIT = 50;

function Hosts({ job, path }: { readonly job: Job; readonly path: string }) {
  const [back, setBack] = useState<readonly string[]>([]);
  const { value, problem } = useData<PageOf<HostWork>>(
    withQuery(`${path}/hosts`, { limit: LIMIT, after: back.at(-1) }),
    {
      showsLast: true,
      topics: ['job'],
      // What is said of another job changes nothing here.
      merge: (page, _topic, changed) => ((changed as Job).id === job.id ? null : page),
      ...(isEnded(job) ? {} : { everyMs: 2_000 }),
    },
  );
  const rows = value?.items ?? [];
  const first = back.length === 0 ? [job.build].flatMap((work) => (work === null ? [] : [work])) : [];
  const all = [...first.filter(({ peer }) => !rows.some((row) => row.peer === peer)), ...rows];
  return (
    <Section title="Hosts">
      <ProblemNotice problem={problem} />
      <Table
        caption="Hosts of this job"
        isCaptionHidden
        rows={all}
        keyOf={({ peer }) => peer}
        empty={value === null ? 'Loading…' : 'No host has begun with it.'}
        columns={[
          { title: 'Host', isHeader: true, isOneLine: true, cell: ({ name }) => name },
          { title: 'State', cell: ({ state }) => <Mark state={state} /> },
          { title: 'Progress', cell: (work) => <WorkMeter work={work} /> },
          { title: 'From peers', isNumber: true, isExtra: true, cell: ({ peerBytes }) => bytes(peerBytes) },
          {
            title: 'From origins',
            isNumber: true,
            isExtra: true,
            cell: ({ upstreamBytes }) => bytes(upstreamBytes),
          },
          { title: 'Attempts', isNumber: true, isExtra: true, cell: ({ attempts }) => attempts },
          { title: 'What went wrong', cell: (work) => <WorkProblem work={work} /> },
        ]}
      />
      <Pager back={back} next={value?.next ?? null} onChange={setBack} />
    </Section>
  );
}

function WorkMeter({ work: { name, state, phase, doneBytes, totalBytes } }: { readonly work: HostWork }) {
  if (state === 'waiting' || state === 'cancelled') return null;
  const share = state === 'succeeded' ? 1 : totalBytes === 0 ? 0 : doneBytes / totalBytes;
  const words =
    state === 'running'
      ? `${phase ?? 'begins'} ${bytes(doneBytes)}${totalBytes === 0 ? '' : ` of ${bytes(totalBytes)}`}`
      : bytes(doneBytes);
  return <Meter label={`Progress of ${name}`} share={share} words={words} />;
}

function WorkProblem({ work: { error, nextAttemptAtMs } }: { readonly work: HostWork }) {
  if (error === null) return null;
  return (
    <>
      {error.message}
      {nextAttemptAtMs !== null && (
        <span class="quiet"> Next attempt at {clock(nextAttemptAtMs, nowMs.value)}.</span>
      )}
    </>
  );
}
