import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';

/** A span as a collector has it. Source: opentelemetry-proto, `trace.proto`, in JSON. */
export interface CollectedSpan {
  /** `service.name` and `service.instance.id` of who has sent it. */
  readonly service: string;
  readonly instance: string;
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty where it has none. */
  readonly parentSpanId: string;
  /** 1 internal, 2 server, 3 client. */
  readonly kind: number;
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** Takes traces as collectors of OpenTelemetry do, OTLP over HTTP, and keeps them. */
export interface Collector extends AsyncDisposable {
  readonly url: string;
  readonly spans: readonly CollectedSpan[];
  /** Headers of the last request. */
  readonly headers: Readonly<Record<string, unknown>>;
  /** Everything that was sent, as it came. */
  readonly text: string;
  /** Answers nobody from now on, or everybody again. */
  setAway(isAway: boolean): void;
}

interface Value {
  readonly stringValue?: string;
  readonly intValue?: number | string;
  readonly doubleValue?: number;
  readonly boolValue?: boolean;
}

type Attributes = readonly { readonly key: string; readonly value: Value }[];

interface Sent {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: Attributes };
    readonly scopeSpans: readonly {
      readonly spans: readonly {
        readonly traceId: string;
        readonly spanId: string;
        readonly parentSpanId?: string;
        readonly name: string;
        readonly kind: number;
        readonly startTimeUnixNano: string;
        readonly endTimeUnixNano: string;
        readonly attributes: Attributes;
      }[];
    }[];
  }[];
}

export async function startCollector(): Promise<Collector> {
  const spans: CollectedSpan[] = [];
  const texts: string[] = [];
  let headers: Readonly<Record<string, unknown>> = {};
  let isAway = false;
  const server = createServer((request, response) => {
    headers = request.headers;
    if (isAway) {
      request.resume();
      return;
    }
    void json(request).then((sent) => {
      texts.push(JSON.stringify(sent));
      spans.push(...spansOf(sent as Sent));
      response.setHeader('content-type', 'application/json').end('{}');
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1/traces`,
    spans,
    get headers() {
      return headers;
    },
    get text() {
      return texts.join('\n');
    },
    setAway: (isNow) => {
      isAway = isNow;
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function spansOf({ resourceSpans }: Sent): CollectedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const { 'service.name': service, 'service.instance.id': instance } = valuesOf(resource.attributes);
    return scopeSpans.flatMap((scope) =>
      scope.spans.map(({ parentSpanId = '', startTimeUnixNano, endTimeUnixNano, attributes, ...span }) => ({
        ...span,
        parentSpanId,
        service: String(service),
        instance: String(instance),
        startedAtMs: Number(BigInt(startTimeUnixNano) / 1_000n) / 1_000,
        endedAtMs: Number(BigInt(endTimeUnixNano) / 1_000n) / 1_000,
        attributes: valuesOf(attributes),
      })),
    );
  });
}

function valuesOf(attributes: Attributes): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
