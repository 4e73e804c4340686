import { newTraceContext, parseTraceparent, type TraceContext } from './context.ts';
import { type FinishedSpan, inTraceOf, Span, type SpanOptions, type SpanSink, untraced } from './span.ts';

export interface TracingOptions {
  /** Where spans go; nowhere when absent: traces are then what lines of logs have in common. */
  readonly sink?: SpanSink;
  /** How much of what begins here goes there, from 0 to 1; what comes from elsewhere goes on as it is. */
  readonly sampleRatio?: number;
}

export interface BeginOptions extends SpanOptions {
  /** The `traceparent` that whoever asked for it has sent; what is none is ignored. */
  readonly traceparent?: unknown;
}

/** Where traces begin in this process, or come to it from others. */
export class Tracing implements AsyncDisposable {
  readonly #sink: SpanSink | undefined;
  readonly #sampleRatio: number;

  constructor({ sink, sampleRatio = 1 }: TracingOptions = {}) {
    this.#sink = sink;
    this.#sampleRatio = sampleRatio;
  }

  /** Something that was asked of this process; {@link Span.end} ends it. */
  begin(name: string, { traceparent, kind = 'server', attributes = {} }: BeginOptions = {}): Span {
    const parent = parseTraceparent(traceparent);
    return Span.begin(name, this.place(parent), parent, { kind, attributes }, this.#sink);
  }

  /** The same, from the beginning to the end of what is done. */
  run<Result>(name: string, options: BeginOptions, work: () => Result): Result {
    return this.begin(name, options).runToEnd(work);
  }

  /** Something that goes on with another's trace; where whoever asked for it has sent none, it belongs to none. */
  join<Result>(name: string, options: BeginOptions, work: () => Result): Result {
    const isTraced = parseTraceparent(options.traceparent) !== undefined;
    return isTraced ? this.run(name, options, work) : untraced(work);
  }

  /** A place for something that outlasts this process; {@link record} tells of it in the end. */
  place(parent: TraceContext | undefined): TraceContext {
    return newTraceContext(parent, this.#sink !== undefined && Math.random() < this.#sampleRatio);
  }

  record(span: FinishedSpan): void {
    if (span.context.isSampled) this.#sink?.add(span);
  }

  /** Does something that goes on with what has a place already, or that belongs to no trace. */
  within<Result>(context: TraceContext | undefined, work: () => Result): Result {
    return inTraceOf(context && Span.at(context, this.#sink), work);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sink?.[Symbol.asyncDispose]();
  }
}
