import { useState } from 'preact/hooks';
import { call, Problem } from '../api.ts';
import type { Webhook, WebhookTrial } from '../documents.ts';
import { several } from '../format.ts';
import { doesOf, trialRequest } from '../model/webhook-trial.ts';
import { useAction } from './action.ts';
import { may } from './allowed.tsx';
import { LinesField } from './fields.tsx';
import { ProblemNotice } from './notice.tsx';
import { Subject } from './subject.tsx';

/** Reads a delivery as the supernode would, and shows what it would do: first an example, which can be changed. */
export function WebhookTrialPanel({ webhook: { id } }: { readonly webhook: Webhook }) {
  const [text, setText] = useState('');
  const [trial, setTrial] = useState<WebhookTrial | null>(null);
  const { isBusy, problem, run } = useAction();
  const submit = (event: Event) => {
    event.preventDefault();
    run(async () => {
      setTrial(null);
      const made = await call<WebhookTrial>(`/webhooks/${encodeURIComponent(id)}/try`, {
        method: 'POST',
        body: requestOf(text),
      });
      if (made.example !== undefined) setText(JSON.stringify(made.example, null, 2));
      setTrial(made);
    });
  };
  return (
    <form class="form" onSubmit={submit}>
      <LinesField
        label="Delivery to try"
        hint="JSON, as the registry sends it. Empty is an example. Nothing is built, and nothing remembered."
        rows={8}
        value={text}
        onChange={setText}
      />
      <div class="actions">
        <button type="submit" disabled={isBusy || !may('operator')}>
          Try
        </button>
      </div>
      <ProblemNotice problem={problem} />
      {trial !== null && <Result trial={trial} />}
    </form>
  );
}

function requestOf(text: string): object {
  try {
    return trialRequest(text);
  } catch (cause) {
    throw new Problem(0, 'This is no JSON.', cause instanceof Error ? cause.message : null);
  }
}

function Result({ trial: { images } }: { readonly trial: WebhookTrial }) {
  return (
    <div class="notice" role="status">
      <p>
        {images.length === 0
          ? 'It tells of no push.'
          : `It tells of ${several(images.length, 'image')}. This would happen:`}
      </p>
      <ul class="plain">
        {images.map(({ image, policies }) => (
          <li key={image}>
            <Subject text={image} />
            <ul class="plain">
              {policies.length === 0 && <li class="quiet">nothing: no policy is for it</li>}
              {policies.map((policy) => (
                <li key={policy.id} class="quiet">
                  {doesOf(policy)}
                </li>
              ))}
            </ul>
          </li>
        ))}
      </ul>
    </div>
  );
}
