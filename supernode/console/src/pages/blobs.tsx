import { useState } from 'preact/hooks';
import { withQuery } from '../api.ts';
import { useData } from '../data.ts';
import type { Blob, Page as PageOf } from '../documents.ts';
import { bytes, count } from '../format.ts';
import { ShortDigest } from '../parts/digest.tsx';
import { ProblemNotice, Waiting } from '../parts/notice.tsx';
import { Page } from '../parts/page.tsx';
import { Pager } from '../parts/pager.tsx';
import { Table } from '../parts/table.tsx';
import { routeHref } from '../route.ts';

const LIMIT = 50;

export function BlobsPage() {
  const [back, setBack] = useState<readonly string[]>([]);
  const { value, problem } = useData<PageOf<Blob>>(
    withQuery('/blobs', { limit: LIMIT, after: back.at(-1) }),
    {
      showsLast: true,
      everyMs: 10_000,
    },
  );
  return (
    <Page title="Blobs" lead="What hosts have or want, piece by piece.">
      {value === null ? (
        <Waiting problem={problem} />
      ) : (
        <>
          <ProblemNotice problem={problem} />
          <Table
            caption="Blobs"
            isCaptionHidden
            rows={value.items}
            keyOf={({ digest, origin, pieces }) => `${digest}@${origin}@${pieces}`}
            empty="No host has or wants a blob. Preheat an image to see some."
            columns={[
              {
                title: 'Digest',
                isHeader: true,
                cell: ({ digest }) => (
                  <a href={routeHref('blobs', { id: digest })}>
                    <ShortDigest digest={digest} />
                  </a>
                ),
              },
              { title: 'Origin', cell: ({ origin }) => origin },
              { title: 'Size', isNumber: true, cell: ({ sizeBytes }) => bytes(sizeBytes) },
              { title: 'Pieces', isNumber: true, isExtra: true, cell: ({ pieces }) => count(pieces) },
              { title: 'Seeds', isNumber: true, cell: ({ seeds }) => count(seeds) },
              { title: 'Hosts that want it', isNumber: true, cell: ({ children }) => count(children) },
            ]}
          />
          <Pager back={back} next={value.next} onChange={setBack} />
        </>
      )}
    </Page>
  );
}
