import { containerd } from './containerd.ts';
import type { Contender } from './contender.ts';
import { drakkar } from './drakkar.ts';
import { https } from './https.ts';
import { nginx } from './nginx.ts';
import { spegel } from './spegel.ts';

/** What takes part in every comparison. */
export const BUILT_IN: readonly Contender[] = [containerd, nginx, spegel, https, drakkar];
