import { call } from '../api.ts';
import { useData } from '../data.ts';
import type { Host } from '../documents.ts';
import { count } from '../format.ts';
import { goTo } from '../location.ts';
import { healthOf } from '../model/hosts.ts';
import { nowMs } from '../now.ts';
import { useAction } from '../parts/action.ts';
import { Actions, RoleNotice } from '../parts/allowed.tsx';
import { ConfirmButton } from '../parts/confirm.tsx';
import { Facts } from '../parts/facts.tsx';
import { Mark } from '../parts/mark.tsx';
import { ProblemNotice, Waiting } from '../parts/notice.tsx';
import { Page } from '../parts/page.tsx';
import { Section } from '../parts/section.tsx';
import { Table } from '../parts/table.tsx';

export function HostPage({ peer }: { readonly peer: string }) {
  const path = `/hosts/${encodeURIComponent(peer)}`;
  const {
    value: host,
    problem,
    refresh,
  } = useData<Host>(path, {
    everyMs: 10_000,
    topics: ['host'],
    merge: (known, _topic, changed) => ((changed as Host).peer === peer ? (changed as Host) : known),
  });
  return (
    <Page title={host?.name ?? 'Host'} lead={<span class="mono wrap">{peer}</span>}>
      {host === null ? (
        <Waiting problem={problem} />
      ) : (
        <>
          <ProblemNotice problem={problem} />
          <HostActions host={host} path={path} onChange={refresh} />
          <HealthNotice host={host} />
          <Facts
            facts={[
              ['State', <Mark key="state" state={host.state} />],
              ['Roles', host.roles.join(', ') || 'none'],
              ['Address for peers', host.dataAddress],
              ['Uploads', `${count(host.uploads)} of ${count(host.uploadSlots)} slots`],
              ['Blobs', count(host.blobs)],
            ]}
          />
          <Section title="Labels">
            <Table
              caption="Labels"
              isCaptionHidden
              rows={Object.entries(host.labels)}
              keyOf={([name]) => name}
              empty="It has none."
              columns={[
                { title: 'Name', isHeader: true, cell: ([name]) => name },
                { title: 'Value', cell: ([, value]) => value },
              ]}
            />
          </Section>
        </>
      )}
    </Page>
  );
}

function HealthNotice({ host }: { readonly host: Host }) {
  const { what, todo } = healthOf(host, nowMs.value);
  return (
    <div class={`notice ${host.state === 'connected' ? '' : 'warn'}`}>
      <p>{what}</p>
      {todo !== null && <p class="quiet">{todo}</p>}
    </div>
  );
}

interface HostActionsProps {
  readonly host: Host;
  readonly path: string;
  readonly onChange: () => void;
}

function HostActions({ host, path, onChange }: HostActionsProps) {
  const { isBusy, problem, run } = useAction();
  const revoke = () =>
    run(async () => {
      await call(`${path}/revoke`, { method: 'POST' });
      onChange();
    });
  const forget = () =>
    run(async () => {
      await call(`${path}/forget`, { method: 'POST' });
      goTo('hosts');
    });
  return (
    <>
      <RoleNotice needs={[{ role: 'admin', what: 'revoke or forget hosts' }]} />
      <Actions label="What can be done with this host" needs="admin" isBusy={isBusy}>
        {host.state !== 'revoked' && (
          <ConfirmButton label="Revoke host" question={`Revoke ${host.name}?`} onConfirm={revoke}>
            Its membership ends at once. Other hosts give it nothing any more. Who has the join token can
            still enrol: make a new one.
          </ConfirmButton>
        )}
        {host.state === 'away' && (
          <ConfirmButton label="Forget host" question={`Forget ${host.name}?`} onConfirm={forget}>
            It leaves the list. Do this for a host that is gone for good.
          </ConfirmButton>
        )}
      </Actions>
      <ProblemNotice problem={problem} />
    </>
  );
}
