import type { JobFields } from '../model/job-form.ts';
import { ChoiceField, TextField } from './fields.tsx';

type Rollout = Pick<JobFields, 'role' | 'labels' | 'percentage' | 'parallelism'>;

interface RolloutFieldsProps {
  readonly value: Rollout;
  readonly onChange: (change: Partial<Rollout>) => void;
}

/** Which hosts, and how many of them at a time. */
export function RolloutFields({ value, onChange }: RolloutFieldsProps) {
  return (
    <>
      <ChoiceField
        label="Role"
        value={value.role}
        choices={[
          { value: '', text: 'All hosts' },
          { value: 'seed', text: 'Seeds' },
          { value: 'builder', text: 'Builders' },
        ]}
        onChange={(role) => onChange({ role })}
      />
      <TextField
        label="Labels"
        hint="As rack=a3 zone=eu-1. Empty is all."
        value={value.labels}
        onChange={(labels) => onChange({ labels })}
      />
      <TextField
        label="Share of them, in %"
        hint="Chosen by lot. Empty is all."
        value={value.percentage}
        onChange={(percentage) => onChange({ percentage })}
      />
      <TextField
        label="At the same time"
        hint="A number, or a percentage as 25%. Empty is 100."
        value={value.parallelism}
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
