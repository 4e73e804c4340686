import { useEffect, useState } from 'preact/hooks';
import { withQuery } from '../api.ts';
import { useData } from '../data.ts';
import type { Host, Page as PageOf } from '../documents.ts';
import { count, labelsText } from '../format.ts';
import { changeQuery, route } from '../location.ts';
import { healthOf } from '../model/hosts.ts';
import { nowMs } from '../now.ts';
import { ChoiceField, TextField } from '../parts/fields.tsx';
import { Mark } from '../parts/mark.tsx';
import { ProblemNotice, Waiting } from '../parts/notice.tsx';
import { Page } from '../parts/page.tsx';
import { Pager } from '../parts/pager.tsx';
import { Table } from '../parts/table.tsx';
import { routeHref } from '../route.ts';

const LIMIT = 50;
const TYPING_MS = 250;

export function HostsPage() {
  const { q = '', state = '', role = '' } = route.value.query;
  const [words, setWords] = useState(q);
  const [back, setBack] = useState<readonly string[]>([]);
  // Another list begins with its first page.
  useEffect(() => setBack([]), [q, state, role]);
  useEffect(() => setWords(q), [q]);
  useEffect(() => {
    if (words === q) return;
    const timer = setTimeout(() => changeQuery({ q: words }), TYPING_MS);
    return () => clearTimeout(timer);
  }, [words, q]);
  const { value, problem } = useData<PageOf<Host>>(
    withQuery('/hosts', { limit: LIMIT, q, state, role, after: back.at(-1) }),
    {
      showsLast: true,
      everyMs: 15_000,

      topics: ['host'],
      merge: (page, _topic, data) => withHost(page, data as Host, state),
    },
  );
  return (
    <Page title="Hosts" lead="Members of the cluster, and how they are.">
      <search class="filters">
        <TextField label="Name, peer or label" value={words} onChange={setWords} />
        <ChoiceField
          label="State"
          value={state}
          choices={['', 'connected', 'away', 'quarantined', 'revoked'].map((one) => ({
            value: one,
            text: one || 'All states',
          }))}
          onChange={(value) => changeQuery({ state: value })}
        />
        <ChoiceField
          label="Role"
          value={role}
          choices={['', 'seed', 'builder'].map((one) => ({ value: one, text: one || 'All roles' }))}
          onChange={(value) => changeQuery({ role: value })}
        />
      </search>
      {value === null ? (
        <Waiting problem={problem} />
      ) : (
        <>
          <ProblemNotice problem={problem} />
          <HostsTable hosts={value.items} isFiltered={q + state + role !== ''} />
          <Pager back={back} next={value.next} onChange={setBack} />
        </>
      )}
    </Page>
  );
}

/** A host that is on the page is changed there; one that is not may belong to it, which only the supernode knows. */
function withHost(page: PageOf<Host>, host: Host, state: string): PageOf<Host> | null {
  const index = page.items.findIndex(({ peer }) => peer === host.peer);
  if (index < 0 || (state !== '' && state !== host.state)) return null;
  return { ...page, items: page.items.with(index, host) };
}

function HostsTable({
  hosts,
  isFiltered,
}: {
  readonly hosts: readonly Host[];
  readonly isFiltered: boolean;
}) {
  return (
    <Table
      caption="Hosts, by their names"
      isCaptionHidden
      rows={hosts}
      keyOf={({ peer }) => peer}
      empty={isFiltered ? 'No host is like that.' : 'No host has joined yet. The overview says how one does.'}
      columns={[
        {
          title: 'Host',
          isOneLine: true,
          isHeader: true,
          cell: ({ name, peer }) => <a href={routeHref('hosts', { id: peer })}>{name}</a>,
        },
        { title: 'State', cell: ({ state }) => <Mark state={state} /> },
        {
          title: 'Health',
          cell: (host) => {
            const { what, todo } = healthOf(host, nowMs.value);
            return (
              <>
                {what} {todo !== null && <span class="quiet">{todo}</span>}
              </>
            );
          },
        },
        {
          title: 'Labels',
          isExtra: true,
          cell: ({ labels }) => <span class="labels">{labelsText(labels)}</span>,
        },
        { title: 'Roles', isExtra: true, cell: ({ roles }) => roles.join(', ') },
        {
          title: 'Uploads',
          isNumber: true,
          isExtra: true,
          cell: ({ uploads, uploadSlots }) => `${uploads}/${uploadSlots}`,
        },
        { title: 'Blobs', isNumber: true, isExtra: true, cell: ({ blobs }) => count(blobs) },
      ]}
    />
  );
}
