import { useState } from 'preact/hooks';
import { call } from '../api.ts';
import type { DryRun } from '../documents.ts';
import { goTo } from '../location.ts';
import { EMPTY_POLICY, type PolicyFields, patternsOf, policyRequest } from '../model/policy-form.ts';
import { useAction } from '../parts/action.ts';
import { may, RoleNotice } from '../parts/allowed.tsx';
import { CheckField, ChoiceField, LinesField, TextField } from '../parts/fields.tsx';
import { ProblemNotice } from '../parts/notice.tsx';
import { Page } from '../parts/page.tsx';
import { CONTENTS, RolloutFields } from '../parts/rollout-fields.tsx';
import { SeenImages } from '../parts/seen-images.tsx';
import { routeHref } from '../route.ts';

export function NewPolicyPage() {
  const [fields, setFields] = useState<PolicyFields>(EMPTY_POLICY);
  const { isBusy, problem, run } = useAction();
  const [dry, setDry] = useState<DryRun | null>(null);
  const images = patternsOf(fields.images);
  const dryRun = () =>
    run(async () => setDry(await call<DryRun>('/policies/dry-run', { method: 'POST', body: { images } })));
  const change = (part: Partial<PolicyFields>) => setFields((before) => ({ ...before, ...part }));
  const submit = (event: Event) => {
    event.preventDefault();
    run(async () => {
      await call('/policies', { method: 'POST', body: policyRequest(fields) });
      goTo('policies');
    });
  };
  return (
    <Page title="New policy">
      <RoleNotice needs={[{ role: 'operator', what: 'try or make policies' }]} />
      <form class="form" onSubmit={submit}>
        <TextField
          label="Name"
          hint="Small letters, digits and -."
          isRequired
          value={fields.name}
          onChange={(name) => change({ name })}
        />
        <LinesField
          label="Images"
          hint="One pattern a line. * is a part of a name, ** several: registry.example/team/**"
          isRequired
          value={fields.images}
          onChange={(images) => change({ images })}
        />
        <fieldset class="group">
          <legend>When a snapshot is built</legend>
          <CheckField
            label="A registry says that an image was pushed"
            value={fields.onPush}
            onChange={(onPush) => change({ onPush })}
          />
          <CheckField
            label="A host pulls an image that has none"
            value={fields.onFirstPull}
            onChange={(onFirstPull) => change({ onFirstPull })}
          />
          <TextField
            label="Look at known tags again, in hours"
            hint="Empty is never."
            value={fields.refreshHours}
            onChange={(refreshHours) => change({ refreshHours })}
          />
        </fieldset>
        <fieldset class="group">
          <legend>Which hosts get it</legend>
          <ChoiceField
            label="What they get"
            value={fields.distribute}
            choices={[{ value: '', text: 'Nothing: they fetch what they start' }, ...CONTENTS]}
            onChange={(distribute) => change({ distribute })}
          />
          {fields.distribute !== '' && <RolloutFields value={fields} onChange={change} />}
        </fieldset>
        <TextField
          label="Forget snapshots that nobody starts, after days"
          hint="Empty is never."
          value={fields.keepDays}
          onChange={(keepDays) => change({ keepDays })}
        />
        <CheckField
          label="Push snapshots to the image’s registry, too"
          value={fields.push}
          onChange={(push) => change({ push })}
        />
        <ProblemNotice problem={problem} />
        {dry !== null && <SeenImages dry={dry} />}
        <div class="actions">
          <button type="submit" class="primary" disabled={isBusy || !may('operator')}>
            Create policy
          </button>
          <button type="button" disabled={isBusy || images.length === 0 || !may('operator')} onClick={dryRun}>
            Dry run
          </button>
          <a class="button" href={routeHref('policies')}>
            Back to policies
          </a>
        </div>
      </form>
    </Page>
  );
}
