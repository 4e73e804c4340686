import { useState } from 'preact/hooks';
import { withQuery } from '../api.ts';
import { useData } from '../data.ts';
import type { Page as PageOf, Snapshot } from '../documents.ts';
import { ago, bytes, count } from '../format.ts';
import { imageOf } from '../model/search.ts';
import { nowMs } from '../now.ts';
import { ShortDigest } from '../parts/digest.tsx';
import { ProblemNotice, Waiting } from '../parts/notice.tsx';
import { Page } from '../parts/page.tsx';
import { Pager } from '../parts/pager.tsx';
import { Subject } from '../parts/subject.tsx';
import { Table } from '../parts/table.tsx';
import { routeHref } from '../route.ts';

const LIMIT = 50;

export function SnapshotsPage() {
  const [back, setBack] = useState<readonly string[]>([]);
  const { value, problem } = useData<PageOf<Snapshot>>(
    withQuery('/snapshots', { limit: LIMIT, after: back.at(-1) }),
    {
      showsLast: true,
      everyMs: 30_000,
      topics: ['snapshot'],
    },
  );
  return (
    <Page title="Snapshots" lead="Images from which containers start at once.">
      {value === null ? (
        <Waiting problem={problem} />
      ) : (
        <>
          <ProblemNotice problem={problem} />
          <Table
            caption="Snapshots"
            isCaptionHidden
            rows={value.items}
            keyOf={({ manifest, layout, registry, repository }) =>
              `${registry}/${repository}@${manifest} ${layout}`
            }
            empty="No host has announced one. A build or preheat job makes one."
            columns={[
              {
                title: 'Image',
                isHeader: true,
                cell: (snapshot) => (
                  <a href={routeHref('snapshots', { id: snapshot.manifest })}>
                    <Subject text={imageOf(snapshot)} />
                  </a>
                ),
              },
              { title: 'Manifest', isExtra: true, cell: ({ manifest }) => <ShortDigest digest={manifest} /> },
              { title: 'Platform', cell: ({ platform }) => platform },
              { title: 'Size', isNumber: true, cell: ({ sizeBytes }) => bytes(sizeBytes) },
              { title: 'Devices', isNumber: true, cell: ({ devices }) => count(devices) },
              { title: 'Registry has it', isExtra: true, cell: ({ pushed }) => (pushed ? 'yes' : 'no') },
              { title: 'Used', isNumber: true, cell: ({ usedAtMs }) => ago(usedAtMs, nowMs.value) },
            ]}
          />
          <Pager back={back} next={value.next} onChange={setBack} />
        </>
      )}
    </Page>
  );
}
