import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';

interface FieldProps {
  readonly label: string;
  readonly hint?: string;
  /** What is wrong with what is written there. */
  readonly error?: string | undefined;
}

interface TextFieldProps extends FieldProps {
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly isRequired?: boolean;
  readonly placeholder?: string;
  readonly isSecret?: boolean;
}

/** One line of text. */
export function TextField({
  label,
  hint,
  value,
  onChange,
  isRequired = false,
  placeholder = '',
  isSecret = false,
  error,
}: TextFieldProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        {...(isSecret ? { type: 'password' as const } : { type: 'text' as const })}
        value={value}
        required={isRequired}
        placeholder={placeholder}
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        {...described(id, hint, error)}
        onInput={(event) => onChange(event.currentTarget.value)}
      />
      <Hint id={id} hint={hint} error={error} />
    </div>
  );
}

interface LinesFieldProps extends FieldProps {
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly isRequired?: boolean;
  readonly rows?: number;
}

/** Several lines of text. */
export function LinesField({
  label,
  hint,
  value,
  onChange,
  isRequired = false,
  rows = 3,
  error,
}: LinesFieldProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <textarea
        id={id}
        rows={rows}
        value={value}
        required={isRequired}
        spellcheck={false}
        {...described(id, hint, error)}
        onInput={(event) => onChange(event.currentTarget.value)}
      />
      <Hint id={id} hint={hint} error={error} />
    </div>
  );
}

interface ChoiceFieldProps<Choice extends string> extends FieldProps {
  readonly value: Choice;
  readonly choices: readonly { readonly value: Choice; readonly text: string }[];
  readonly onChange: (value: Choice) => void;
}

/** One of a few. */
export function ChoiceField<Choice extends string>({
  label,
  hint,
  value,
  choices,
  onChange,
  error,
}: ChoiceFieldProps<Choice>) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select
        id={id}
        value={value}
        {...described(id, hint, error)}
        onChange={(event) => onChange(event.currentTarget.value as Choice)}
      >
        {choices.map((choice) => (
          <option key={choice.value} value={choice.value}>
            {choice.text}
          </option>
        ))}
      </select>
      <Hint id={id} hint={hint} error={error} />
    </div>
  );
}

interface CheckFieldProps {
  readonly label: ComponentChildren;
  readonly value: boolean;
  readonly onChange: (value: boolean) => void;
}

/** Yes or no. */
export function CheckField({ label, value, onChange }: CheckFieldProps) {
  return (
    <label class="check">
      <input type="checkbox" checked={value} onChange={(event) => onChange(event.currentTarget.checked)} />
      <span>{label}</span>
    </label>
  );
}

function described(id: string, hint: string | undefined, error: string | undefined) {
  const by = [...(error === undefined ? [] : [`${id}-error`]), ...(hint === undefined ? [] : [`${id}-hint`])];
  return {
    ...(by.length === 0 ? {} : { 'aria-describedby': by.join(' ') }),
    ...(error === undefined ? {} : { 'aria-invalid': true }),
  };
}

interface HintProps {
  readonly id: string;
  readonly hint: string | undefined;
  readonly error: string | undefined;
}

function Hint({ id, hint, error }: HintProps) {
  return (
    <>
      {error !== undefined && (
        <p class="hint bad" id={`${id}-error`}>
          {error}
        </p>
      )}
      {hint !== undefined && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
    </>
  );
}
