import { DrakkarError, errnoOf } from '@drakkar/protocol';
import { type HrTime, type SpanContext, SpanKind, SpanStatusCode, TraceFlags } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, type ReadableSpan, type SpanExporter } from '@opentelemetry/sdk-trace';
import type { TraceContext } from './context.ts';
import type { FinishedSpan, SpanSink } from './span.ts';

/** Who exports. */
export interface ServiceIdentity {
  /** `drakkar-daemon` */
  readonly name: string;
  readonly version: string;
  /** Which of them. */
  readonly instance: string;
}

export interface SinkLog {
  info(context: object, message: string): void;
  warn(context: object, message: string): void;
}

export interface OtlpOptions {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly identity: ServiceIdentity;
}

/** Of one batch, tries included. */
const EXPORT_MS = 3_000;
const DELAY_MS = 1_000;
/** What comes while so many wait is dropped. */
const MAX_WAITING = 4_096;
const BATCH = 512;

const KINDS = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL };

/**
 * Exports spans to a collector: OTLP over HTTP, in the background, a batch at a time. While the collector is away spans are dropped, and nobody waits
 * for it.
 */
export class OtlpSink implements SpanSink {
  readonly #processor: BatchSpanProcessor;
  readonly #common: Pick<
    ReadableSpan,
    | 'resource'
    | 'instrumentationScope'
    | 'links'
    | 'events'
    | 'ended'
    | 'droppedAttributesCount'
    | 'droppedEventsCount'
    | 'droppedLinksCount'
  >;

  constructor({ url, headers, identity: { name, version, instance } }: OtlpOptions, log: SinkLog) {
    const exporter = new OTLPTraceExporter({ url, headers: { ...headers }, timeoutMillis: EXPORT_MS });
    this.#processor = new BatchSpanProcessor({
      exporter: watched(exporter, log),
      maxQueueSize: MAX_WAITING,
      maxExportBatchSize: BATCH,
      scheduledDelayMillis: DELAY_MS,
      exportTimeoutMillis: EXPORT_MS,
    });
    this.#common = {
      resource: resourceFromAttributes({
        'service.name': name,
        'service.version': version,
        'service.instance.id': instance,
      }),
      instrumentationScope: { name: 'drakkar', version },
      ...{ links: [], events: [], ended: true },
      ...{ droppedAttributesCount: 0, droppedEventsCount: 0, droppedLinksCount: 0 },
    };
  }

  add({
    name,
    kind,
    context,
    parentSpanId,
    startedAtMs,
    endedAtMs,
    attributes,
    errorCode,
  }: FinishedSpan): void {
    const spanContext = contextOf(context);
    this.#processor.onEnd({
      ...this.#common,
      name,
      kind: KINDS[kind],
      spanContext: () => spanContext,
      ...(parentSpanId === undefined
        ? {}
        : { parentSpanContext: contextOf({ ...context, spanId: parentSpanId }) }),
      startTime: timeOf(startedAtMs),
      endTime: timeOf(endedAtMs),
      duration: timeOf(endedAtMs - startedAtMs),
      attributes: errorCode === undefined ? attributes : { ...attributes, 'error.type': errorCode },
      status: { code: errorCode === undefined ? SpanStatusCode.UNSET : SpanStatusCode.ERROR },
    });
  }

  /** Exports what waits, where that can be done soon. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#processor.shutdown().catch(() => {});
  }
}

/** Says once that the collector is away, and once that it is back. */
function watched(exporter: SpanExporter, log: SinkLog): SpanExporter {
  let isAway = false;
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        const { error } = result;
        if (error === undefined && isAway) log.info({}, 'traces are exported again');
        else if (error !== undefined && !isAway)
          log.warn({ error: awayError(error) }, 'traces can’t be exported: they are dropped');
        isAway = error !== undefined;
        done(result);
      }),
    shutdown: () => exporter.shutdown(),
  };
}

function awayError(error: Error): DrakkarError {
  const why = error.message || errnoOf(error) || error.name;
  return new DrakkarError('unavailable', `the collector has taken no traces: ${why}`, {
    hint: 'check tracing.otlp',
  });
}

const contextOf = ({ traceId, spanId }: TraceContext): SpanContext => ({
  traceId,
  spanId,
  traceFlags: TraceFlags.SAMPLED,
});

function timeOf(ms: number): HrTime {
  const seconds = Math.trunc(ms / 1000);
  return [seconds, Math.floor((ms - seconds * 1000) * 1e6)];
}
