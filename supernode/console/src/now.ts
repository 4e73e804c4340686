import { signal } from '@preact/signals';

/** The time, as what is shown needs it: “5 s ago” must not stand still. */
export const nowMs = signal(Date.now());

setInterval(() => {
  if (document.visibilityState === 'visible') nowMs.value = Date.now();
}, 5_000);
