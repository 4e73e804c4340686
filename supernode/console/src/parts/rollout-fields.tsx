import type { FieldErrors } from '../model/issues.ts';
import type { Rollout } from '../model/rollout.ts';
import { ChoiceField, LinesField, TextField } from './fields.tsx';

interface RolloutFieldsProps {
  readonly value: Rollout;
  readonly errors: FieldErrors<keyof Rollout>;
  readonly onChange: (change: Partial<Rollout>) => void;
}

/** Which hosts, and how many of them at a time. */
export function RolloutFields({ value, errors, onChange }: RolloutFieldsProps) {
  return (
    <>
      <ChoiceField
        label="Role"
        value={value.role}
        error={errors.role}
        choices={[
          { value: '', text: 'All hosts' },
          { value: 'seed', text: 'Seeds' },
          { value: 'builder', text: 'Builders' },
        ]}
        onChange={(role) => onChange({ role })}
      />
      <LinesField
        label="Labels"
        hint="One a line, as rack=a3. Empty is all."
        rows={2}
        value={value.labels}
        error={errors.labels}
        onChange={(labels) => onChange({ labels })}
      />
      <TextField
        label="Share of them, in %"
        hint="Chosen by lot. Empty is all."
        value={value.percentage}
        error={errors.percentage}
        onChange={(percentage) => onChange({ percentage })}
      />
      <TextField
        label="Or until so many have it"
        hint="A number of hosts. Empty is all."
        value={value.hosts}
        error={errors.hosts}
        onChange={(hosts) => onChange({ hosts })}
      />
      <TextField
        label="At the same time"
        hint="A number, or a percentage as 25%. Empty is 100."
        value={value.parallelism}
        error={errors.parallelism}
        onChange={(parallelism) => onChange({ parallelism })}
      />
    </>
  );
}

/** What of an image hosts get. */
export const CONTENTS = [
  { value: 'snapshot', text: 'The whole snapshot' },
  { value: 'start', text: 'What a start needs' },
  { value: 'layers', text: 'The layers, as the registry has them' },
] as const;
