import { heardAtMs, link } from '../events.ts';
import { clock } from '../format.ts';
import { nowMs } from '../now.ts';

/** Whether what is shown is of now. */
export function Connection() {
  const isLive = link.value === 'live';
  return (
    <p class={`connection ${isLive ? 'good' : 'warn'}`} role="status">
      <svg viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
        {isLive ? <circle class="dot" cx="6" cy="6" r="3" /> : <circle class="ring" cx="6" cy="6" r="3.5" />}
      </svg>
      {isLive ? 'Live' : link.value === 'connecting' ? 'Connecting…' : 'Reconnecting…'}
    </p>
  );
}

/** Says of when is what is shown, while the supernode is away. */
export function AwayBanner() {
  if (link.value !== 'reconnecting') return null;
  return (
    <p class="banner" role="alert">
      <b>Reconnecting.</b> The supernode does not answer. What you see is of{' '}
      {clock(heardAtMs.value, nowMs.value)}.
    </p>
  );
}
