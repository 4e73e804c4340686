import { useState } from 'preact/hooks';
import { call, withQuery } from '../api.ts';
import { useData } from '../data.ts';
import type { NewWebhook, Page as PageOf, Webhook } from '../documents.ts';
import { useAction } from '../parts/action.ts';
import { Actions, may, RoleNotice } from '../parts/allowed.tsx';
import { ConfirmButton } from '../parts/confirm.tsx';
import { Deliveries, LastDelivery, PostponedNotice } from '../parts/deliveries.tsx';
import { Facts } from '../parts/facts.tsx';
import { ChoiceField, TextField } from '../parts/fields.tsx';
import { Empty, ProblemNotice, Waiting } from '../parts/notice.tsx';
import { Page } from '../parts/page.tsx';
import { Pager } from '../parts/pager.tsx';
import { Section } from '../parts/section.tsx';
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

const LIMIT = 50;

export function WebhooksPage() {
  const [back, setBack] = useState<readonly string[]>([]);
  const { value, problem, refresh } = useData<PageOf<Webhook>>(
    withQuery('/webhooks', { limit: LIMIT, after: back.at(-1) }),
    { showsLast: true, everyMs: 10_000 },
  );
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
              { role: 'admin', what: 'make or delete webhooks' },
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
          <Pager back={back} next={value.next} onChange={setBack} />
          <NewWebhookForm onChange={refresh} />
        </>
      )}
    </Page>
  );
}

function WebhookItem({ webhook, onChange }: { readonly webhook: Webhook; readonly onChange: () => void }) {
  const { id, name, kind, registry, path, proof, deliveries, postponed } = webhook;
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
      <PostponedNotice postponed={postponed} />
      {deliveries.length > 0 && <Deliveries webhook={id} />}
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
