import { useState } from 'preact/hooks';
import { withQuery } from '../api.ts';
import { useData } from '../data.ts';
import type { Delivery, Page as PageOf, Webhook } from '../documents.ts';
import { ago, count } from '../format.ts';
import { nowMs } from '../now.ts';
import { Mark, type Marked } from './mark.tsx';
import { ProblemNotice } from './notice.tsx';
import { Pager } from './pager.tsx';
import { Table } from './table.tsx';

const OUTCOMES: Readonly<Record<Delivery['outcome'], { readonly mark: Marked; readonly text: string }>> = {
  taken: { mark: 'succeeded', text: 'taken' },
  repeated: { mark: 'keeping', text: 'heard before' },
  refused: { mark: 'failed', text: 'refused' },
  malformed: { mark: 'failed', text: 'not understood' },
  nothing: { mark: 'away', text: 'of no push' },
};
const LIMIT = 20;

export function LastDelivery({ delivery }: { readonly delivery: Delivery | undefined }) {
  if (delivery === undefined) return <Mark state="waiting" text="nothing delivered yet" />;
  const { mark, text } = OUTCOMES[delivery.outcome];
  return <Mark state={mark} text={`${text}, ${ago(delivery.atMs, nowMs.value)}`} />;
}

/** Whether there were more deliveries than could be taken. */
export function PostponedNotice({
  postponed: { count: times, lastAtMs, detail },
}: Pick<Webhook, 'postponed'>) {
  if (lastAtMs === null) return null;
  return (
    <div class="notice warn">
      <p>
        {count(times)} times the sender was told to come again, the last time {ago(lastAtMs, nowMs.value)}.
      </p>
      <p class="quiet">Why: {detail}. Registries send again by themselves.</p>
    </div>
  );
}

/** What came of the last deliveries; fetched when one looks. @param webhook its id */
export function Deliveries({ webhook }: { readonly webhook: string }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="as-table" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Last deliveries</summary>
      {isOpen && <List path={`/webhooks/${encodeURIComponent(webhook)}/deliveries`} />}
    </details>
  );
}

function List({ path }: { readonly path: string }) {
  const [back, setBack] = useState<readonly string[]>([]);
  const { value, problem } = useData<PageOf<Delivery>>(
    withQuery(path, { limit: LIMIT, after: back.at(-1) }),
    {
      showsLast: true,
      everyMs: 10_000,
    },
  );
  return (
    <>
      <ProblemNotice problem={problem} />
      <Table
        caption="Last deliveries"
        isCaptionHidden
        rows={value?.items ?? []}
        keyOf={({ id }) => id}
        empty={value === null ? 'Loading…' : 'None.'}
        columns={[
          { title: 'When', isHeader: true, isOneLine: true, cell: ({ atMs }) => ago(atMs, nowMs.value) },
          {
            title: 'Outcome',
            cell: ({ outcome }) => <Mark state={OUTCOMES[outcome].mark} text={OUTCOMES[outcome].text} />,
          },
          { title: 'Detail', cell: ({ detail }) => detail },
        ]}
      />
      <Pager back={back} next={value?.next ?? null} onChange={setBack} />
    </>
  );
}
