import { useState } from 'preact/hooks';
import { call } from '../api.ts';
import type { DryRun } from '../documents.ts';
import { sortIssues } from '../model/issues.ts';
import { linesOf } from '../model/lines.ts';
import { POLICY_PLACES, type PolicyFields, policyRequest } from '../model/policy-form.ts';
import { routeHref } from '../route.ts';
import { useAction } from './action.ts';
import { may } from './allowed.tsx';
import { CheckField, ChoiceField, LinesField, TextField } from './fields.tsx';
import { FormProblem } from './form-problem.tsx';
import { CONTENTS, RolloutFields } from './rollout-fields.tsx';
import { SeenImages } from './seen-images.tsx';

interface PolicyFormProps {
  /** What stands there first. */
  readonly value: PolicyFields;
  readonly saveText: string;
  readonly onSave: (request: Record<string, unknown>) => Promise<void>;
}

/** All of a policy, and what the supernode says of each field. */
export function PolicyForm({ value, saveText, onSave }: PolicyFormProps) {
  const [fields, setFields] = useState(value);
  const { isBusy, problem, run } = useAction();
  const [dry, setDry] = useState<DryRun | null>(null);
  const { fields: errors, others } = sortIssues(problem?.issues ?? [], 'body', POLICY_PLACES);
  const isAtFields = Object.keys(errors).length > 0 && others.length === 0;
  const images = linesOf(fields.images);
  const dryRun = () =>
    run(async () => setDry(await call<DryRun>('/policies/dry-run', { method: 'POST', body: { images } })));
  const change = (part: Partial<PolicyFields>) => setFields((before) => ({ ...before, ...part }));
  const text = (name: TextName) => ({
    value: fields[name],
    error: errors[name],
    onChange: (written: string) => change({ [name]: written }),
  });
  const submit = (event: Event) => {
    event.preventDefault();
    run(() => onSave(policyRequest(fields)));
  };
  return (
    <form class="form" onSubmit={submit}>
      <TextField label="Name" hint="Small letters, digits and -." isRequired {...text('name')} />
      <LinesField
        label="Images"
        hint="One pattern a line. * is a part of a name, ** several: registry.example/team/**"
        isRequired
        {...text('images')}
      />
      <CheckField label="It is in force" value={fields.enabled} onChange={(enabled) => change({ enabled })} />
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
          label="Then only of images larger than, in MB"
          hint="Of the layers. Empty is of all."
          {...text('minMegabytes')}
        />
        <TextField
          label="Look at known tags again, in hours"
          hint="Empty is never."
          {...text('refreshHours')}
        />
        <TextField label="Builds at the same time" hint="Empty is 2." {...text('atOnce')} />
        <CheckField
          label="Push snapshots to the image’s registry, too"
          value={fields.push}
          onChange={(push) => change({ push })}
        />
      </fieldset>
      <fieldset class="group">
        <legend>Which hosts get it</legend>
        <ChoiceField
          label="What they get"
          value={fields.distribute}
          error={errors.distribute}
          choices={[{ value: '', text: 'Nothing: they fetch what they start' }, ...CONTENTS]}
          onChange={(distribute) => change({ distribute })}
        />
        {fields.distribute !== '' && <RolloutFields value={fields} errors={errors} onChange={change} />}
      </fieldset>
      <TextField
        label="Forget snapshots that nobody starts, after days"
        hint="Nobody is given them any more; hosts keep theirs until they need the room. Empty is never."
        {...text('keepDays')}
      />
      <FormProblem problem={problem} isAtFields={isAtFields} />
      {dry !== null && <SeenImages dry={dry} />}
      <div class="actions">
        <button type="submit" class="primary" disabled={isBusy || !may('operator')}>
          {saveText}
        </button>
        <button type="button" disabled={isBusy || images.length === 0 || !may('operator')} onClick={dryRun}>
          Dry run
        </button>
        <a class="button" href={routeHref('policies')}>
          Back to policies
        </a>
      </div>
    </form>
  );
}

type TextName = 'name' | 'images' | 'minMegabytes' | 'refreshHours' | 'atOnce' | 'keepDays';
