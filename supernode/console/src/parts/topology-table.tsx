import { useMemo, useState } from 'preact/hooks';
import { count, rate, several } from '../format.ts';
import type { TopologyNode, TopologyView } from '../model/topology.ts';
import { Table } from './table.tsx';

const ROWS = 50;

/** The topology in words and numbers, for those who do not see the diagram, or want to read it off. */
export function TopologyTable({ view }: { readonly view: TopologyView }) {
  const [from, setFrom] = useState(0);
  const rows = useMemo(() => rowsOf(view), [view]);
  const start = Math.min(from, Math.floor(Math.max(0, rows.length - 1) / ROWS) * ROWS);
  return (
    <>
      <Table
        caption={`${several(view.nodes.length, view.level)}, those that give most first`}
        rows={rows.slice(start, start + ROWS)}
        keyOf={({ node }) => node.id}
        columns={[
          { title: view.level, isHeader: true, cell: ({ node }) => node.label },
          { title: 'Zone', cell: ({ node }) => node.zone },
          { title: 'Rack', isExtra: true, cell: ({ node }) => node.rack },
          { title: 'Hosts', isNumber: true, isExtra: true, cell: ({ node }) => count(node.hosts) },
          { title: 'Gives', isNumber: true, cell: ({ node }) => rate(node.sentBytesPerSecond) },
          { title: 'Gets', isNumber: true, cell: ({ node }) => rate(node.receivedBytesPerSecond) },
          { title: 'Feeds most', cell: ({ targets }) => targets },
        ]}
      />
      {rows.length > ROWS && (
        <nav class="pager" aria-label="Pages of the list">
          <button type="button" disabled={start === 0} onClick={() => setFrom(start - ROWS)}>
            Back
          </button>
          <span class="quiet">
            {start + 1}–{Math.min(start + ROWS, rows.length)} of {count(rows.length)}
          </span>
          <button type="button" disabled={start + ROWS >= rows.length} onClick={() => setFrom(start + ROWS)}>
            Next
          </button>
        </nav>
      )}
    </>
  );
}

function rowsOf({ nodes, edges }: TopologyView): { node: TopologyNode; targets: string }[] {
  const targets = nodes.map((): string[] => []);
  for (const { from, to } of edges) {
    const list = targets[from];
    const label = nodes[to]?.label;
    if (list !== undefined && label !== undefined && list.length < 3) list.push(label);
  }
  return nodes
    .map((node, index) => ({ node, targets: (targets[index] ?? []).join(', ') }))
    .sort((one, other) => other.node.sentBytesPerSecond - one.node.sentBytesPerSecond);
}
