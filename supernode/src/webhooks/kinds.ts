/** Who sends: each kind has its own form of what it says, and its own ways to show that it knows the hook's secret. */
export const HOOK_KINDS = [
  'distribution',
  'harbor',
  'docker-hub',
  'ghcr',
  'acr-azure',
  'acr-aliyun',
  'generic',
] as const;

export type HookKind = (typeof HOOK_KINDS)[number];
