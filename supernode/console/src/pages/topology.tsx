import { useMemo, useState } from 'preact/hooks';
import { useData } from '../data.ts';
import type { Topology } from '../documents.ts';
import { changeQuery, route } from '../location.ts';
import { arrange, type Level, type TopologyView } from '../model/topology.ts';
import { ChoiceField } from '../parts/fields.tsx';
import { Empty, ProblemNotice, Waiting } from '../parts/notice.tsx';
import { Page } from '../parts/page.tsx';
import { TopologyDiagram } from '../parts/topology-diagram.tsx';
import { NodePanel, TopologySummary } from '../parts/topology-panel.tsx';
import { TopologyTable } from '../parts/topology-table.tsx';

/** A large cluster is not asked so often. */
const EVERY_MS = 3_000;
const LARGE_EVERY_MS = 10_000;
const LARGE = 2_000;

const LEVELS: readonly Level[] = ['host', 'rack', 'zone'];

export function TopologyPage() {
  const [hosts, setHosts] = useState(0);
  const { value, problem } = useData<Topology>('/topology', {
    everyMs: hosts > LARGE ? LARGE_EVERY_MS : EVERY_MS,
  });
  if (value !== null && value.hosts.length !== hosts) setHosts(value.hosts.length);
  const { by = '', zone = '', as = 'diagram' } = route.value.query;
  const level = LEVELS.find((one) => one === by) ?? null;
  const view = useMemo(() => value && arrange(value, { level, zone }), [value, level, zone]);
  return (
    <Page title="Topology" lead="Which hosts feed which others, now.">
      {view === null ? (
        <Waiting problem={problem} />
      ) : view.hosts === 0 && zone === '' ? (
        <Empty title="No host is connected.">
          <p>Hosts stand here as soon as their daemons have joined.</p>
        </Empty>
      ) : (
        <>
          <ProblemNotice problem={problem} />
          <div class="filters">
            <ChoiceField<string>
              label="Group by"
              value={level ?? ''}
              choices={[
                { value: '', text: `What fits (${view.level}s)` },
                ...LEVELS.map((one) => ({ value: one, text: `${one}s` })),
              ]}
              onChange={(value) => changeQuery({ by: value })}
            />
            <ChoiceField<string>
              label="Zone"
              value={zone}
              choices={[
                { value: '', text: 'All zones' },
                ...view.zones.filter((name) => name !== '').map((name) => ({ value: name, text: name })),
              ]}
              onChange={(value) => changeQuery({ zone: value })}
            />
            <ChoiceField<string>
              label="Show as"
              value={as}
              choices={[
                { value: 'diagram', text: 'Diagram' },
                { value: 'table', text: 'Table' },
              ]}
              onChange={(value) => changeQuery({ as: value === 'diagram' ? '' : value })}
            />
          </div>
          {as === 'table' ? <TopologyTable view={view} /> : <Diagram view={view} />}
        </>
      )}
    </Page>
  );
}

function Diagram({ view }: { readonly view: TopologyView }) {
  const [pointed, point] = useState(-1);
  const [chosenId, choose] = useState<string | null>(null);
  const chosen = chosenId === null ? -1 : view.nodes.findIndex(({ id }) => id === chosenId);
  const shown = pointed >= 0 ? pointed : chosen;
  const node = view.nodes[shown];
  return (
    <div class="topology">
      <TopologyDiagram
        view={view}
        chosen={shown}
        onPoint={point}
        onChoose={(index) => choose(index === chosen ? null : (view.nodes[index]?.id ?? null))}
      />
      <div class="topology-side">
        {node === undefined ? (
          <TopologySummary view={view} />
        ) : (
          <NodePanel view={view} index={shown} node={node} />
        )}
      </div>
    </div>
  );
}
