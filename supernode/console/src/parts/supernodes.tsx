import { useData } from '../data.ts';
import type { Replica, Status } from '../documents.ts';
import { count, duration, shortPeer } from '../format.ts';
import { nowMs } from '../now.ts';
import { Mark } from './mark.tsx';
import { Section } from './section.tsx';
import { Table } from './table.tsx';

/** Who of several supernodes is there, and who leads; nothing where one is alone. */
export function Supernodes() {
  const { value } = useData<Status>('/status', { everyMs: 5_000 });
  const supernodes = value?.supernodes ?? [];
  if (supernodes.length === 0) return null;
  return (
    <Section title="Supernodes" note="One leads; each serves its share of the blobs">
      <Table
        caption="Supernodes"
        isCaptionHidden
        rows={supernodes}
        keyOf={({ peer }) => peer}
        columns={[
          { title: 'Address', isHeader: true, cell: (each) => <Address replica={each} /> },
          { title: 'State', isOneLine: true, cell: (each) => <State replica={each} /> },
          { title: 'Hosts', isNumber: true, cell: ({ hosts }) => count(hosts) },
          { title: 'Version', isExtra: true, cell: ({ version }) => version },
          {
            title: 'Up',
            isNumber: true,
            isExtra: true,
            cell: ({ startedAtMs }) => duration(Math.max(0, nowMs.value - startedAtMs)),
          },
        ]}
      />
    </Section>
  );
}

function Address({ replica: { peer, address } }: { readonly replica: Replica }) {
  const [place = address] = address.split('/');
  return (
    <>
      {place} <span class="quiet mono">{shortPeer(peer)}</span>
    </>
  );
}

function State({ replica: { serving, leads } }: { readonly replica: Replica }) {
  if (leads) return <Mark state="seed" text={serving ? 'leads and serves' : 'leads, waits for its hosts'} />;
  return serving ? (
    <Mark state="connected" text="serves" />
  ) : (
    <Mark state="waiting" text="waits for its hosts" />
  );
}
