import { randomBytes } from 'node:crypto';

/** A place in a trace: all that happens for one thing that somebody asked for, on whatever host, is one trace. */
export interface TraceContext {
  /** 32 lower-case hex digits, not all 0. */
  readonly traceId: string;
  /** Of what is done at the moment: 16 lower-case hex digits, not all 0. */
  readonly spanId: string;
  /** Whether who began it exports it: others do then, too. */
  readonly isSampled: boolean;
}

/** Source: W3C Trace Context, 3.2.2.1: later versions may be longer, with a dash before what is new. */
const PATTERN = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/s;
const VERSION = '00';
const NO_VERSION = 'ff';
const SAMPLED = 1;
/** More than any version needs. */
const MAX_CHARACTERS = 256;

/** Reads the header or field `traceparent`. @returns nothing for what is none: whoever gets it begins a trace of its own */
export function parseTraceparent(text: unknown): TraceContext | undefined {
  if (typeof text !== 'string' || text.length > MAX_CHARACTERS) return undefined;
  const [, version, traceId = '', spanId = '', flags = '', rest] = PATTERN.exec(text) ?? [];
  const isKnown = version === VERSION ? rest === undefined : version !== undefined && version !== NO_VERSION;
  if (!isKnown || isZero(traceId) || isZero(spanId)) return undefined;
  return { traceId, spanId, isSampled: (Number.parseInt(flags, 16) & SAMPLED) !== 0 };
}

export function formatTraceparent({ traceId, spanId, isSampled }: TraceContext): string {
  return `${VERSION}-${traceId}-${spanId}-${isSampled ? '01' : '00'}`;
}

/** A new place in a trace that goes on, or in a new one. @param isSampled of a new one */
export function newTraceContext(parent: TraceContext | undefined, isSampled: boolean): TraceContext {
  const bytes = randomBytes(24).toString('hex');
  return {
    traceId: parent?.traceId ?? bytes.slice(16),
    spanId: bytes.slice(0, 16),
    isSampled: parent?.isSampled ?? isSampled,
  };
}

const isZero = (digits: string): boolean => /^0*$/.test(digits);
