import { useState } from 'preact/hooks';
import { withQuery } from '../api.ts';
import { useData } from '../data.ts';
import type { Job, Page as PageOf } from '../documents.ts';
import { ago, bytes } from '../format.ts';
import { subjectOf, withJob } from '../model/jobs.ts';
import { nowMs } from '../now.ts';
import { JobMeter } from '../parts/job-meter.tsx';
import { Mark } from '../parts/mark.tsx';
import { ProblemNotice, Waiting } from '../parts/notice.tsx';
import { Page } from '../parts/page.tsx';
import { Pager } from '../parts/pager.tsx';
import { Subject } from '../parts/subject.tsx';
import { Table } from '../parts/table.tsx';
import { routeHref } from '../route.ts';

const LIMIT = 50;

export function JobsPage() {
  const [back, setBack] = useState<readonly string[]>([]);
  const { value, problem } = useData<PageOf<Job>>(withQuery('/jobs', { limit: LIMIT, after: back.at(-1) }), {
    showsLast: true,
    everyMs: 30_000,
    topics: ['job'],
    merge: (page, _topic, data) => withJob(page, data as Job, back.length === 0),
  });
  return (
    <Page
      title="Jobs"
      lead="What the cluster was asked to do."
      actions={
        <a class="button primary" href={routeHref('jobs', { id: 'new' })}>
          New job
        </a>
      }
    >
      {value === null ? (
        <Waiting problem={problem} />
      ) : (
        <>
          <ProblemNotice problem={problem} />
          <Table
            caption="Jobs, the newest first"
            isCaptionHidden
            rows={value.items}
            keyOf={({ id }) => id}
            empty="No jobs yet."
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
              { title: 'From peers', isNumber: true, isExtra: true, cell: (job) => bytes(job.bytes.peer) },
              {
                title: 'From origins',
                isNumber: true,
                isExtra: true,
                cell: (job) => bytes(job.bytes.upstream),
              },
              { title: 'By', isExtra: true, cell: ({ createdBy }) => createdBy },
              { title: 'Created', isNumber: true, cell: ({ createdAtMs }) => ago(createdAtMs, nowMs.value) },
            ]}
          />
          <Pager back={back} next={value.next} onChange={setBack} />
        </>
      )}
    </Page>
  );
}
