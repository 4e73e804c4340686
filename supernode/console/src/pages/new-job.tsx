import { useMemo, useState } from 'preact/hooks';
import { call } from '../api.ts';
import type { Job } from '../documents.ts';
import { goTo } from '../location.ts';
import { sortIssues } from '../model/issues.ts';
import { EMPTY_JOB, JOB_PLACES, type JobFields, jobSpec } from '../model/job-form.ts';
import { useAction } from '../parts/action.ts';
import { may, RoleNotice } from '../parts/allowed.tsx';
import { CheckField, ChoiceField, TextField } from '../parts/fields.tsx';
import { FormProblem } from '../parts/form-problem.tsx';
import { Page } from '../parts/page.tsx';
import { CONTENTS, RolloutFields } from '../parts/rollout-fields.tsx';
import { routeHref } from '../route.ts';

const KINDS = [
  { value: 'preheat', text: 'Preheat: hosts get an image' },
  { value: 'build', text: 'Build: one host makes a snapshot' },
  { value: 'get', text: 'Get: hosts get a file' },
  { value: 'evict', text: 'Evict: hosts let go of an image or a blob' },
] as const;

const SUBJECTS: Readonly<Record<JobFields['kind'], { readonly label: string; readonly hint: string }>> = {
  preheat: { label: 'Image', hint: 'As registry.example/team/app:1.4.' },
  build: { label: 'Image', hint: 'As registry.example/team/app:1.4.' },
  get: { label: 'URL', hint: 'Of a web server that hosts may ask.' },
  evict: { label: 'Image or digest', hint: 'An image, or a blob as sha256:…' },
};

export function NewJobPage() {
  const [fields, setFields] = useState<JobFields>(EMPTY_JOB);
  const { isBusy, problem, run } = useAction();
  // Sent twice, it is one job.
  const requestId = useMemo(newRequestId, []);
  const change = (part: Partial<JobFields>) => setFields((before) => ({ ...before, ...part }));
  const { kind } = fields;
  const { fields: errors, others } = sortIssues(problem?.issues ?? [], 'body/spec', JOB_PLACES);
  const isAtFields = Object.keys(errors).length > 0 && others.length === 0;
  const submit = (event: Event) => {
    event.preventDefault();
    run(async () => {
      const { id } = await call<Job>('/jobs', { method: 'POST', body: { spec: jobSpec(fields), requestId } });
      goTo('jobs', { id });
    });
  };
  return (
    <Page title="New job">
      <RoleNotice needs={[{ role: 'operator', what: 'make jobs' }]} />
      <form class="form" onSubmit={submit}>
        <ChoiceField
          label="What to do"
          value={kind}
          choices={KINDS}
          onChange={(value) => change({ kind: value })}
        />
        <TextField
          {...SUBJECTS[kind]}
          isRequired
          value={fields.subject}
          error={errors.subject}
          onChange={(subject) => change({ subject })}
        />
        {kind !== 'get' && (
          <TextField
            label="Platform"
            hint="As linux/arm64. Empty is each host’s own."
            value={fields.platform}
            error={errors.platform}
            onChange={(platform) => change({ platform })}
          />
        )}
        {kind === 'preheat' && (
          <ChoiceField
            label="What hosts get"
            value={fields.content}
            choices={CONTENTS}
            onChange={(content) => change({ content })}
          />
        )}
        {kind === 'build' ? (
          <>
            <CheckField
              label="Push the snapshot to the image’s registry, too"
              value={fields.push}
              onChange={(push) => change({ push })}
            />
            <CheckField
              label="Build also where there is one"
              value={fields.rebuild}
              onChange={(rebuild) => change({ rebuild })}
            />
          </>
        ) : (
          <fieldset class="group">
            <legend>Which hosts</legend>
            <RolloutFields value={fields} errors={errors} onChange={change} />
            {kind !== 'evict' && (
              <CheckField
                label="Go on for hosts that come later"
                value={fields.keep}
                onChange={(keep) => change({ keep })}
              />
            )}
          </fieldset>
        )}
        <FormProblem problem={problem} isAtFields={isAtFields} />
        <div class="actions">
          <button type="submit" class="primary" disabled={isBusy || !may('operator')}>
            Create job
          </button>
          <a class="button" href={routeHref('jobs')}>
            Back to jobs
          </a>
        </div>
      </form>
    </Page>
  );
}

function newRequestId(): string {
  return `console-${crypto.getRandomValues(new Uint32Array(4)).join('-')}`;
}
