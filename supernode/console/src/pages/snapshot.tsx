import { Fragment } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import { useData } from '../data.ts';
import type { SnapshotDetail, SnapshotPart } from '../documents.ts';
import { ago, bytes, count, several } from '../format.ts';
import { partName, residencyRows } from '../model/residency.ts';
import { imageOf } from '../model/search.ts';
import { nowMs } from '../now.ts';
import { ShortDigest } from '../parts/digest.tsx';
import { Facts } from '../parts/facts.tsx';
import { ProblemNotice, Waiting } from '../parts/notice.tsx';
import { Page } from '../parts/page.tsx';
import { ResidencyMap, residencyColumns } from '../parts/residency.tsx';
import { Section } from '../parts/section.tsx';
import { PrefetchStrip } from '../parts/strips.tsx';
import { Table } from '../parts/table.tsx';
import { routeHref } from '../route.ts';

const ROWS = 40;

export function SnapshotPage({ manifest }: { readonly manifest: string }) {
  const { value, problem } = useData<SnapshotDetail>(`/snapshots/${encodeURIComponent(manifest)}`, {
    everyMs: 5_000,
  });
  return (
    <Page
      title={value === null ? 'Snapshot' : imageOf(value)}
      lead={<span class="mono wrap">{manifest}</span>}
    >
      {value === null ? (
        <Waiting problem={problem} />
      ) : (
        <>
          <ProblemNotice problem={problem} />
          <Facts
            facts={[
              ['Platform', value.platform],
              ['Size', bytes(value.sizeBytes)],
              ['Devices', count(value.devices)],
              ['Registry has it', value.pushed ? 'yes' : 'no'],
              ['Last used', ago(value.usedAtMs, nowMs.value)],
              ['Layout', <ShortDigest key="layout" digest={value.layout} />],
            ]}
          />
          <Residency parts={value.parts} />
          <Devices snapshot={value} />
          <Layers snapshot={value} />
        </>
      )}
    </Page>
  );
}

function Residency({ parts }: { readonly parts: readonly SnapshotPart[] }) {
  const [shown, show] = useState(ROWS);
  const rows = useMemo(() => residencyRows(parts), [parts]);
  const seen = rows.slice(0, shown);
  return (
    <Section title="Residency" note="Hosts by devices: a cell is as full as the host’s copy">
      {rows.length === 0 ? (
        <p class="none">No host has any of it.</p>
      ) : (
        <>
          <ResidencyMap parts={parts} rows={seen} />
          {rows.length > shown && (
            <p class="more">
              <button type="button" onClick={() => show(shown + ROWS)}>
                Show {Math.min(ROWS, rows.length - shown)} more of {several(rows.length, 'host')}
              </button>
            </p>
          )}
          <details class="as-table">
            <summary>As a table</summary>
            <Table
              caption="Residency"
              isCaptionHidden
              rows={seen}
              keyOf={({ peer }) => peer}
              columns={residencyColumns(parts)}
            />
          </details>
        </>
      )}
    </Section>
  );
}

function Devices({ snapshot: { parts, prefetch } }: { readonly snapshot: SnapshotDetail }) {
  const learned = prefetch.reduce((sum, { length }) => sum + length, 0);
  const note =
    prefetch.length === 0
      ? 'Nothing is learned yet of what starts read'
      : `Starts read ${bytes(learned)} in ${several(prefetch.length, 'range')}`;
  return (
    <Section title="Devices" note={note}>
      <Table
        caption="Devices"
        isCaptionHidden
        rows={parts}
        keyOf={({ kind, slot, digest }) => `${kind} ${slot} ${digest}`}
        columns={[
          { title: 'Part', isHeader: true, isOneLine: true, cell: partName },
          {
            title: 'Blob',
            isExtra: true,
            cell: ({ digest }) => (
              <a href={routeHref('blobs', { id: digest })}>
                <ShortDigest digest={digest} />
              </a>
            ),
          },
          { title: 'Size', isNumber: true, cell: ({ sizeBytes }) => bytes(sizeBytes) },
          {
            title: 'What starts read of it',
            cell: (part) =>
              part.kind === 'meta' ? (
                <span class="quiet">all, when it is mounted</span>
              ) : (
                <PrefetchStrip part={part} ranges={prefetch.filter(({ device }) => device === part.slot)} />
              ),
          },
          { title: 'Shared with', cell: ({ sharedWith }) => <Sharing sharedWith={sharedWith} /> },
        ]}
      />
    </Section>
  );
}

const LISTED = 3;

function Sharing({ sharedWith }: Pick<SnapshotPart, 'sharedWith'>) {
  if (sharedWith.length === 0) return <span class="quiet">none</span>;
  return (
    <>
      {sharedWith.slice(0, LISTED).map(({ repository, manifest }, index) => (
        <Fragment key={manifest}>
          {index > 0 && ', '}
          <a href={routeHref('snapshots', { id: manifest })} title={manifest}>
            {repository}
          </a>
        </Fragment>
      ))}
      {sharedWith.length > LISTED && <span class="quiet"> and {sharedWith.length - LISTED} more</span>}
    </>
  );
}

function Layers({ snapshot: { layers } }: { readonly snapshot: SnapshotDetail }) {
  return (
    <Section title="Layers" note="Of the image, from the base up">
      <Table
        caption="Layers"
        isCaptionHidden
        rows={layers.map((layer, index) => ({ ...layer, index }))}
        keyOf={({ index }) => String(index)}
        columns={[
          { title: 'Layer', isHeader: true, cell: ({ index }) => index + 1 },
          { title: 'Digest', cell: ({ digest }) => <ShortDigest digest={digest} /> },
          { title: 'Size', isNumber: true, cell: ({ sizeBytes }) => bytes(sizeBytes) },
        ]}
      />
    </Section>
  );
}
