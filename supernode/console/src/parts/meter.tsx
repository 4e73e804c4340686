interface MeterProps {
  readonly label: string;
  /** Of 1. */
  readonly share: number;
  /** Of 1, after the first. */
  readonly badShare?: number;
  readonly words: string;
}

/** How far something is, as a bar and in words. */
export function Meter({ label, share, badShare = 0, words }: MeterProps) {
  const percent = (value: number) => `${(Math.min(1, Math.max(0, value)) * 100).toFixed(1)}%`;
  return (
    <div class="meter">
      <div
        class="meter-bar"
        role="progressbar"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(share * 100)}
        aria-valuetext={words}
      >
        <span class="meter-done" style={{ width: percent(share) }} />
        {badShare > 0 && <span class="meter-bad" style={{ width: percent(badShare) }} />}
      </div>
      {words !== '' && <span class="meter-words">{words}</span>}
    </div>
  );
}
