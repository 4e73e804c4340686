import { AsyncLocalStorage } from 'node:async_hooks';
import { toDrakkarError } from '@drakkar/protocol';
import { formatTraceparent, newTraceContext, type TraceContext } from './context.ts';

/** What is asked of this process, what it asks of another one, or neither. */
export type SpanKind = 'server' | 'client' | 'internal';

/** Circumstances for people to look at: never a credential, nor a URL with its query. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

/** Something that has been done, as it is exported. */
export interface FinishedSpan {
  readonly name: string;
  readonly kind: SpanKind;
  readonly context: TraceContext;
  readonly parentSpanId: string | undefined;
  /** Milliseconds since 1970. */
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  readonly attributes: SpanAttributes;
  /** The code of the error with which it ended. */
  readonly errorCode: string | undefined;
}

/** Where finished spans go; disposing it waits a moment for those that are on their way. */
export interface SpanSink extends AsyncDisposable {
  /** Keeps or drops it, at once. */
  add(span: FinishedSpan): void;
}

/** Spans within one that begins in this process: a large image has thousands of pieces, and the first ones show as much as all. */
const MAX_SPANS = 512;
const MAX_CHARACTERS = 512;

/** What the spans share that belong to one that has begun in this process. */
interface Recorder {
  readonly sink: SpanSink;
  /** How many more may be. */
  left: number;
}

interface Recording {
  readonly name: string;
  readonly kind: SpanKind;
  readonly parentSpanId: string | undefined;
  readonly startedAtMs: number;
  readonly startMs: number;
  attributes: SpanAttributes;
}

export interface SpanOptions {
  readonly kind?: SpanKind;
  readonly attributes?: SpanAttributes;
}

const storage = new AsyncLocalStorage<Span>();

/** Something that is being done for a trace. Where nobody exports it, it is no more than a place in the trace. */
export class Span {
  readonly context: TraceContext;
  /** Nothing where spans within this one go nowhere. */
  readonly #recorder: Recorder | undefined;
  #recording: Recording | undefined;

  private constructor(context: TraceContext, recorder?: Recorder, recording?: Recording) {
    this.context = context;
    this.#recorder = recorder;
    this.#recording = recording;
  }

  /** @param sink where it goes when it has ended; nothing where it goes nowhere */
  static begin(
    name: string,
    context: TraceContext,
    parent: TraceContext | undefined,
    options: SpanOptions,
    sink: SpanSink | undefined,
  ): Span {
    const recorder = recorderOf(context, sink);
    return new Span(context, recorder, recorder && recordingOf(name, parent?.spanId, options));
  }

  /** A place that is told of elsewhere; what is done there has spans of its own. */
  static at(context: TraceContext, sink: SpanSink | undefined): Span {
    return new Span(context, recorderOf(context, sink));
  }

  /** Something that is done for this one. */
  child(name: string, options: SpanOptions): Span {
    const recorder = this.#recorder;
    if (recorder === undefined) return this;
    if (recorder.left === 0) return new Span(this.context);
    recorder.left -= 1;
    const context = newTraceContext(this.context, true);
    return new Span(context, recorder, recordingOf(name, this.context.spanId, options));
  }

  /** Does it as part of what this is. */
  run<Result>(work: () => Result): Result {
    return storage.run(this, work);
  }

  /** Does it as part of what this is, and ends when it has. */
  runToEnd<Result>(work: () => Result): Result {
    try {
      const result = this.run(work);
      if (result instanceof Promise)
        void result.then(
          () => this.end(),
          (error: unknown) => this.end(error),
        );
      else this.end();
      return result;
    } catch (error) {
      this.end(error);
      throw error;
    }
  }

  set(attributes: SpanAttributes): void {
    if (this.#recording !== undefined)
      this.#recording.attributes = { ...this.#recording.attributes, ...attributes };
  }

  /** What comes after this changes nothing. */
  end(error?: unknown): void {
    const recording = this.#recording;
    if (recording === undefined) return;
    this.#recording = undefined;
    const { name, kind, parentSpanId, startedAtMs, startMs, attributes } = recording;
    this.#recorder?.sink.add({
      ...{ name, kind, context: this.context, parentSpanId, startedAtMs },
      endedAtMs: startedAtMs + performance.now() - startMs,
      attributes: Object.fromEntries(Object.entries(attributes).map(([key, value]) => [key, short(value)])),
      errorCode: error === undefined ? undefined : toDrakkarError(error).code,
    });
  }
}

/** What is being done, where it belongs to a trace. */
export function currentSpan(): Span | undefined {
  return storage.getStore();
}

/** Does something that is worth a span of its own, where it belongs to a trace. */
export function inSpan<Result>(name: string, options: SpanOptions, work: () => Result): Result {
  const span = storage.getStore()?.child(name, options);
  return span === undefined ? work() : span.runToEnd(work);
}

/** Does something that belongs to no trace, whoever has led to it. */
export function untraced<Result>(work: () => Result): Result {
  return storage.exit(work);
}

/** The same for what belongs to that, or to nothing, whoever has led to it. */
export function inTraceOf<Result>(span: Span | undefined, work: () => Result): Result {
  return span === undefined ? untraced(work) : span.run(work);
}

/** What another process is told, so that it goes on with the trace; nothing where there is none. */
export function currentTraceparent(): string | undefined {
  const span = storage.getStore();
  return span && formatTraceparent(span.context);
}

/** What every line of a log says of the trace that it belongs to. */
export function traceInLog(): object {
  const span = storage.getStore();
  if (span === undefined) return {};
  const { traceId, spanId } = span.context;
  return { traceId, spanId };
}

function recorderOf({ isSampled }: TraceContext, sink: SpanSink | undefined): Recorder | undefined {
  return sink === undefined || !isSampled ? undefined : { sink, left: MAX_SPANS };
}

function recordingOf(
  name: string,
  parentSpanId: string | undefined,
  { kind = 'internal', attributes = {} }: SpanOptions,
): Recording {
  return { name, kind, parentSpanId, startedAtMs: Date.now(), startMs: performance.now(), attributes };
}

const short = (value: SpanAttributes[string]): SpanAttributes[string] =>
  typeof value === 'string' ? value.slice(0, MAX_CHARACTERS) : value;
