import { useState } from 'preact/hooks';
import { call, withQuery } from '../api.ts';
import { useData } from '../data.ts';
import type { DryRun, Page as PageOf, Policy } from '../documents.ts';
import { bytes, count, duration } from '../format.ts';
import { changedPolicy, toWhom, whenOf } from '../model/policy-form.ts';
import { useAction } from '../parts/action.ts';
import { Actions, RoleNotice } from '../parts/allowed.tsx';
import { ConfirmButton } from '../parts/confirm.tsx';
import { Facts } from '../parts/facts.tsx';
import { Mark } from '../parts/mark.tsx';
import { Empty, ProblemNotice, Waiting } from '../parts/notice.tsx';
import { Page } from '../parts/page.tsx';
import { Pager } from '../parts/pager.tsx';
import { SeenImages } from '../parts/seen-images.tsx';
import { routeHref } from '../route.ts';

const LIMIT = 50;

export function PoliciesPage() {
  const [back, setBack] = useState<readonly string[]>([]);
  const { value, problem, refresh } = useData<PageOf<Policy>>(
    withQuery('/policies', { limit: LIMIT, after: back.at(-1) }),
    { showsLast: true, everyMs: 30_000 },
  );
  return (
    <Page
      title="Policies"
      lead="Which images get a snapshot, when, and which hosts get it."
      actions={
        <a class="button primary" href={routeHref('policies', { id: 'new' })}>
          New policy
        </a>
      }
    >
      {problem?.status === 404 ? (
        <Empty title="This supernode has no policies.">
          <p>A newer version has. Until then, make build and preheat jobs.</p>
        </Empty>
      ) : value === null ? (
        <Waiting problem={problem} />
      ) : (
        <>
          <ProblemNotice problem={problem} />
          <RoleNotice needs={[{ role: 'operator', what: 'try or change policies' }]} />
          {value.items.length === 0 && (
            <Empty title="There is no policy.">
              <p>Nothing is built or distributed by itself.</p>
            </Empty>
          )}
          <ul class="cards">
            {value.items.map((policy) => (
              <PolicyItem key={policy.id} policy={policy} onChange={refresh} />
            ))}
          </ul>
          <Pager back={back} next={value.next} onChange={setBack} />
        </>
      )}
    </Page>
  );
}

function PolicyItem({ policy, onChange }: { readonly policy: Policy; readonly onChange: () => void }) {
  const { id, name, images, enabled, push, keepMs, minSizeBytes, atOnce } = policy;
  const path = `/policies/${encodeURIComponent(id)}`;
  const { isBusy, problem, run } = useAction();
  const [dry, setDry] = useState<DryRun | null>(null);
  const dryRun = () =>
    run(async () => setDry(await call<DryRun>('/policies/dry-run', { method: 'POST', body: { images } })));
  const enable = (isEnabled: boolean) =>
    run(async () => {
      await call(path, { method: 'PUT', body: changedPolicy(policy, { enabled: isEnabled }) });
      onChange();
    });
  const remove = () =>
    run(async () => {
      await call(path, { method: 'DELETE' });
      onChange();
    });
  return (
    <li class="card">
      <div class="card-head">
        <h2>{name}</h2>
        <Mark state={enabled ? 'connected' : 'paused'} text={enabled ? 'enabled' : 'disabled'} />
      </div>
      <Facts
        facts={[
          [
            'Images',
            <span key="images" class="mono wrap">
              {images.join(' ')}
            </span>,
          ],
          ['Builds', whenOf(policy)],
          ['At the same time', count(atOnce)],
          ['Of pulled images', minSizeBytes === 0 ? null : `larger than ${bytes(minSizeBytes)}`],
          ['Distributes to', toWhom(policy)],
          ['Registry gets it, too', push ? 'yes' : 'no'],
          ['Forgets unused', keepMs === null ? 'never' : `after ${duration(keepMs)}`],
        ]}
      />
      <Actions label={`What can be done with ${name}`} needs="operator" isBusy={isBusy}>
        <button type="button" onClick={dryRun}>
          Dry run
        </button>
        <a class="button" href={routeHref('policies', { id })}>
          Change
        </a>
        <button type="button" onClick={() => enable(!enabled)}>
          {enabled ? 'Disable' : 'Enable'}
        </button>
        <ConfirmButton label="Delete policy" question={`Delete ${name}?`} onConfirm={remove}>
          Nothing more is done by it. Snapshots that it has made stay.
        </ConfirmButton>
      </Actions>
      <ProblemNotice problem={problem} />
      {dry !== null && <SeenImages dry={dry} />}
    </li>
  );
}
