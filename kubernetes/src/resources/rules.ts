/** A rule of the API server’s own, in its expression language, with what it says to people. Source: KEP-2876. */
export interface Rule {
  readonly rule: string;
  readonly message: string;
  readonly reason?: 'FieldValueInvalid' | 'FieldValueForbidden' | 'FieldValueRequired';
}

/** What a schema of ours says to the API server alone. */
export const rules = (...all: readonly Rule[]) => ({ 'x-kubernetes-validations': [...all] });

/** A list without order in which nothing is twice. */
export const asSet = { 'x-kubernetes-list-type': 'set' };

/** A list in which no two have the same of these. */
export const asMap = (...keys: readonly string[]) => ({
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': [...keys],
});

/** What a later version has written of a status stays there. */
export const keepsUnknown = { 'x-kubernetes-preserve-unknown-fields': true };
