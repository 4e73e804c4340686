/** How soon a piece or block is needed: a reader waits for it, one is likely to, or it belongs to the whole and nobody waits. */
export type Urgency = 'urgent' | 'soon' | 'rest';

/** The most urgent first. */
export const URGENCIES: readonly Urgency[] = ['urgent', 'soon', 'rest'];

/** Something for each of them. */
export const byUrgency = <Value>(make: () => Value): Readonly<Record<Urgency, Value>> => ({
  urgent: make(),
  soon: make(),
  rest: make(),
});
