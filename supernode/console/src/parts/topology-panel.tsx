import { count, percentage, rate, several } from '../format.ts';
import { MOST_HOSTS, type TopologyNode, type TopologyView } from '../model/topology.ts';
import { Facts } from './facts.tsx';
import { Section } from './section.tsx';

/** What the whole of it says: how far bytes go, and how the diagram is to be read. */
export function TopologySummary({ view }: { readonly view: TopologyView }) {
  const { rack, zone, far } = view.near;
  const all = rack + zone + far;
  const share = (part: number) => (all === 0 ? 0 : part / all);
  const rows = [
    { name: 'within a rack', value: rack },
    { name: 'to another rack', value: zone },
    { name: 'to another zone', value: far },
  ];
  return (
    <>
      <Section title="How far bytes go">
        <div class="nearness" aria-hidden="true">
          {rows.map(({ name, value }, index) => (
            <span key={name} class={`near-${index}`} style={{ flexGrow: String(share(value)) }} />
          ))}
        </div>
        <Facts
          facts={rows.map(({ name, value }) => [
            name,
            <Share key={name} share={share(value)} value={value} />,
          ])}
        />
      </Section>
      <Section title="How to read it">
        <ul class="legend-list">
          <li>
            <span class="sample sample-bar" aria-hidden="true" />
            Bars outside: what it gives. The longest is{' '}
            {rate(Math.max(0, ...view.nodes.map((node) => node.sentBytesPerSecond)))}.
          </li>
          <li>
            <span class="sample sample-far" aria-hidden="true" />
            Feeds between zones. The thick end gives, the thin end gets.
          </li>
          <li>
            <span class="sample sample-near" aria-hidden="true" />
            Feeds within a zone.
          </li>
          {view.level === 'host' ? (
            <li>
              <span class="sample sample-seed" aria-hidden="true" />
              On the circle: a host that is a seed.
            </li>
          ) : (
            <li>
              Each mark is a {view.level}: {count(view.hosts)} hosts are too many to tell apart. Above{' '}
              {MOST_HOSTS}, choose a zone to see hosts.
            </li>
          )}
        </ul>
        <p class="quiet">Point at a mark, or click it, to see whom it feeds.</p>
      </Section>
    </>
  );
}

const Share = ({ share, value }: { readonly share: number; readonly value: number }) => (
  <>
    <b>{percentage(share)}</b> <span class="quiet">{rate(value)}</span>
  </>
);

const LISTED = 6;

/** One mark of it: whom it feeds, and who feeds it. */
export function NodePanel({
  view,
  index,
  node,
}: {
  readonly view: TopologyView;
  readonly index: number;
  readonly node: TopologyNode;
}) {
  const gives = view.edges.filter(({ from }) => from === index);
  const gets = view.edges.filter(({ to }) => to === index);
  return (
    <>
      <Section title={node.label} note={<span class="quiet">{placeText(node)}</span>}>
        <Facts
          facts={[
            ['gives', rate(node.sentBytesPerSecond)],
            ['gets', rate(node.receivedBytesPerSecond)],
            [
              'hosts',
              node.hosts > 1
                ? `${count(node.hosts)}, ${several(node.seeds, 'seed')}`
                : node.seeds > 0
                  ? 'a seed'
                  : null,
            ],
            ['among themselves', node.hosts > 1 ? rate(node.withinBytesPerSecond) : null],
          ]}
        />
      </Section>
      <FeedList
        title={`Gives to ${gives.length}`}
        feeds={gives.map((edge) => ({ rate: edge.bytesPerSecond, node: view.nodes[edge.to] }))}
      />
      <FeedList
        title={`Gets from ${gets.length}`}
        feeds={gets.map((edge) => ({ rate: edge.bytesPerSecond, node: view.nodes[edge.from] }))}
      />
    </>
  );
}

interface FeedListProps {
  readonly title: string;
  readonly feeds: readonly { readonly rate: number; readonly node: TopologyNode | undefined }[];
}

function FeedList({ title, feeds }: FeedListProps) {
  return (
    <Section title={title}>
      <ul class="feeds">
        {feeds.slice(0, LISTED).map(({ rate: speed, node }) => (
          <li key={node?.id}>
            <span>{node?.label}</span> <span class="quiet">{node !== undefined && placeText(node)}</span>
            <span class="number">{rate(speed)}</span>
          </li>
        ))}
        {feeds.length > LISTED && <li class="quiet">and {feeds.length - LISTED} more</li>}
      </ul>
    </Section>
  );
}

const placeText = ({ label, zone, rack }: TopologyNode): string =>
  [zone, rack].filter((part) => part !== '' && part !== label).join(' · ');
