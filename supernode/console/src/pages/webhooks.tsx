import { useState } from 'preact/hooks';
import { call } from '../api.ts';
import { useData } from '../data.ts';
import type { Delivery, NewWebhook, Page as PageOf, Webhook } from '../documents.ts';
import { ago } from '../format.ts';
import { nowMs } from '../now.ts';
import { useAction } from '../parts/action.ts';
import { Actions, may, RoleNotice } from '../parts/allowed.tsx';
import { ConfirmButton } from '../parts/confirm.tsx';
import { Facts } from '../parts/facts.tsx';
import { ChoiceField, TextField } from '../parts/fields.tsx';
import { Mark, type Marked } from '../parts/mark.tsx';
import { Empty, ProblemNotice, Waiting } from '../parts/notice.tsx';
import { Page } from '../parts/page.tsx';
import { Section } from '../parts/section.tsx';
import { Table } from '../parts/table.tsx';
import { WebhookTrialPanel } from '../parts/webhook-trial.tsx';

const KINDS = [
  { value: 'distribution', text: 'CNCF Distribution' },
  { value: 'harbor', text: 'Harbor' },
  { value: 'docker-hub', text: 'Docker Hub' },
  { value: 'ghcr', text: 'GitHub Container Registry' },
  { value: 'acr-azure', text: 'Azure Container Registry' },
  { value: 'acr-aliyun', text: 'Alibaba Cloud ACR' },
  { value: 'generic', text: 'Anything else' },
] as const;

export function WebhooksPage() {
  const { value, problem, refresh } = useData<PageOf<Webhook>>('/webhooks', { everyMs: 10_000 });
  return (
    <Page title="Webhooks" lead="Where registries say that an image was pushed.">
      {problem?.status === 404 ? (
        <Empty title="This supernode has no webhooks.">
          <p>A newer version has. Until then, make build and preheat jobs.</p>
        </Empty>
      ) : value === null ? (
        <Waiting problem={problem} />
      ) : (
        <>
          <ProblemNotice problem={problem} />
          <RoleNotice
            needs={[
              { role: 'operator', what: 'try webhooks' },
              { role: 'admin', what: 'make or delete them' },
            ]}
          />
          {value.items.length === 0 && (
            <Empty title="There is no webhook.">
              <p>No registry can tell of pushes yet.</p>
            </Empty>
          )}
          <ul class="cards">
            {value.items.map((webhook) => (
              <WebhookItem key={webhook.id} webhook={webhook} onChange={refresh} />
            ))}
          </ul>
          <NewWebhookForm onChange={refresh} />
        </>
      )}
    </Page>
  );
}

function WebhookItem({ webhook, onChange }: { readonly webhook: Webhook; readonly onChange: () => void }) {
  const { id, name, kind, registry, path, proof, deliveries } = webhook;
  const { isBusy, problem, run } = useAction();
  const remove = () =>
    run(async () => {
      await call(`/webhooks/${encodeURIComponent(id)}`, { method: 'DELETE' });
      onChange();
    });
  return (
    <li class="card">
      <div class="card-head">
        <h2>{name}</h2>
        <LastDelivery delivery={deliveries[0]} />
      </div>
      <Facts
        facts={[
          ['Sender', KINDS.find(({ value }) => value === kind)?.text ?? kind],
          ['Registry', registry],
          ['Address', <AddressOf key="address" path={path} />],
          ['Proof', proof],
        ]}
      />
      {deliveries.length > 0 && <Deliveries deliveries={deliveries} />}
      <details class="as-table">
        <summary>Try it</summary>
        <WebhookTrialPanel webhook={webhook} />
      </details>
      <Actions label={`What can be done with ${name}`} needs="admin" isBusy={isBusy}>
        <ConfirmButton label="Delete webhook" question={`Delete ${name}?`} onConfirm={remove}>
          What this registry says is not taken any more.
        </ConfirmButton>
      </Actions>
      <ProblemNotice problem={problem} />
    </li>
  );
}

const AddressOf = ({ path }: { readonly path: string }) => (
  <span class="mono wrap">{new URL(path, location.href).href}</span>
);

const OUTCOMES: Readonly<Record<Delivery['outcome'], { readonly mark: Marked; readonly text: string }>> = {
  taken: { mark: 'succeeded', text: 'taken' },
  repeated: { mark: 'keeping', text: 'heard before' },
  refused: { mark: 'failed', text: 'refused' },
  malformed: { mark: 'failed', text: 'not understood' },
  nothing: { mark: 'away', text: 'of no push' },
};

function LastDelivery({ delivery }: { readonly delivery: Delivery | undefined }) {
  if (delivery === undefined) return <Mark state="waiting" text="nothing delivered yet" />;
  const { mark, text } = OUTCOMES[delivery.outcome];
  return <Mark state={mark} text={`${text}, ${ago(delivery.atMs, nowMs.value)}`} />;
}

function Deliveries({ deliveries }: { readonly deliveries: readonly Delivery[] }) {
  return (
    <details class="as-table">
      <summary>Last deliveries</summary>
      <Table
        caption="Last deliveries"
        isCaptionHidden
        rows={deliveries}
        keyOf={({ atMs, outcome, detail }) => `${atMs} ${outcome} ${detail}`}
        columns={[
          { title: 'When', isHeader: true, isOneLine: true, cell: ({ atMs }) => ago(atMs, nowMs.value) },
          {
            title: 'Outcome',
            cell: ({ outcome }) => <Mark state={OUTCOMES[outcome].mark} text={OUTCOMES[outcome].text} />,
          },
          { title: 'Detail', cell: ({ detail }) => detail },
        ]}
      />
    </details>
  );
}

function NewWebhookForm({ onChange }: { readonly onChange: () => void }) {
  const [name, setName] = useState('');
  const [kind, setKind] = useState<(typeof KINDS)[number]['value']>('distribution');
  const [registry, setRegistry] = useState('');
  const [made, setMade] = useState<NewWebhook | null>(null);
  const { isBusy, problem, run } = useAction();
  const submit = (event: Event) => {
    event.preventDefault();
    run(async () => {
      const place = registry.trim();
      const body = { name: name.trim(), kind, ...(place === '' ? {} : { registry: place }) };
      setMade(await call<NewWebhook>('/webhooks', { method: 'POST', body }));
      setName('');
      onChange();
    });
  };
  return (
    <Section title="New webhook">
      <form class="form" onSubmit={submit}>
        <TextField
          label="Name"
          hint="Small letters, digits and -."
          isRequired
          value={name}
          onChange={setName}
        />
        <ChoiceField label="Who sends" value={kind} choices={KINDS} onChange={setKind} />
        <TextField
          label="Registry"
          hint="As hosts name it, where the sender says another name or none."
          value={registry}
          onChange={setRegistry}
        />
        <ProblemNotice problem={problem} />
        <div class="actions">
          <button type="submit" class="primary" disabled={isBusy || !may('admin')}>
            Create webhook
          </button>
        </div>
        {made !== null && <Made webhook={made} />}
      </form>
    </Section>
  );
}

/** The secret is told once. */
function Made({ webhook: { path, proof, secret } }: { readonly webhook: NewWebhook }) {
  return (
    <div class="notice" role="status">
      <p>Set this up with the registry now. The secret is not shown again.</p>
      <Facts
        facts={[
          ['Address', <AddressOf key="address" path={path} />],
          [
            'Secret',
            <span key="secret" class="mono wrap">
              {secret}
            </span>,
          ],
          ['Proof', proof],
        ]}
      />
    </div>
  );
}
