import { useState } from 'preact/hooks';
import { useData } from '../data.ts';
import type { BlobDetail, BlobPart } from '../documents.ts';
import { bytes, count, percentage, several } from '../format.ts';
import { coverage } from '../model/pieces.ts';
import { Facts } from '../parts/facts.tsx';
import { Mark } from '../parts/mark.tsx';
import { Empty, ProblemNotice, Waiting } from '../parts/notice.tsx';
import { Page } from '../parts/page.tsx';
import { Coverage, PieceMap } from '../parts/piece-map.tsx';
import { Section } from '../parts/section.tsx';
import { Table } from '../parts/table.tsx';
import { routeHref } from '../route.ts';

const ROWS = 50;

export function BlobPage({ digest }: { readonly digest: string }) {
  const { value, problem } = useData<readonly BlobDetail[]>(`/blobs/${encodeURIComponent(digest)}`, {
    everyMs: 2_000,
  });
  return (
    <Page title="Blob" lead={<span class="mono wrap">{digest}</span>}>
      {value === null ? (
        <Waiting problem={problem} />
      ) : value.length === 0 ? (
        <Empty title="No host has or wants this blob.">
          <p>
            <a href={routeHref('blobs')}>All blobs</a>
          </p>
        </Empty>
      ) : (
        <>
          <ProblemNotice problem={problem} />
          {value.map((blob) => (
            <BlobSwarm key={`${blob.origin} ${blob.pieces}`} blob={blob} />
          ))}
        </>
      )}
    </Page>
  );
}

function BlobSwarm({ blob }: { readonly blob: BlobDetail }) {
  const [shown, show] = useState(ROWS);
  const { origin, sizeBytes, pieces, parts } = blob;
  const maps = parts.map(({ map }) => map);
  const known = maps.filter((map) => map !== null).length;
  // Those that are at it come first: there is something to see.
  const sorted = parts.toSorted(
    (one, other) => rank(one, pieces) - rank(other, pieces) || one.name.localeCompare(other.name),
  );
  return (
    <>
      <Facts
        facts={[
          ['Origin', origin],
          ['Size', bytes(sizeBytes)],
          ['Pieces', count(pieces)],
          ['Seeds', count(blob.seeds)],
          ['Hosts that want it', count(blob.children)],
        ]}
      />
      <Section title="On how many hosts each part is" note={`The full height is ${several(known, 'host')}`}>
        <Coverage counts={coverage(maps)} hosts={known} />
      </Section>
      <Section title="Piece maps" note="64 cells a host; a filled cell is complete">
        <Table
          caption="Piece maps of hosts"
          isCaptionHidden
          rows={sorted.slice(0, shown)}
          keyOf={({ peer }) => peer}
          columns={[
            {
              title: 'Host',
              isOneLine: true,
              isHeader: true,
              cell: ({ name, peer }) => <a href={routeHref('hosts', { id: peer })}>{name}</a>,
            },
            {
              title: 'Pieces that it has',
              cell: ({ map, name, havePieces }) => (
                <PieceMap
                  map={map}
                  label={`${name} has ${count(havePieces)} of ${several(pieces, 'piece')}`}
                />
              ),
            },
            { title: 'Has', isNumber: true, cell: ({ havePieces }) => percentage(havePieces / pieces) },
            { title: 'Part', cell: (part) => <PartMark part={part} pieces={pieces} /> },
          ]}
        />
        {sorted.length > shown && (
          <p class="more">
            <button type="button" onClick={() => show(shown + ROWS)}>
              Show {Math.min(ROWS, sorted.length - shown)} more of {count(sorted.length)}
            </button>
          </p>
        )}
      </Section>
    </>
  );
}

function rank({ havePieces, wants }: BlobPart, pieces: number): number {
  if (wants && havePieces < pieces) return 0;
  return havePieces < pieces ? 1 : 2;
}

function PartMark({
  part: { havePieces, wants },
  pieces,
}: {
  readonly part: BlobPart;
  readonly pieces: number;
}) {
  if (havePieces >= pieces) return <Mark state="seed" text="seed" />;
  return wants ? <Mark state="running" text="wants it" /> : <Mark state="away" text="has a part" />;
}
