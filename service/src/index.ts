/**
 * The frame of a long-running process: a configuration that one schema describes, an admin API on a unix socket, directories.
 *
 * @example
 * ```ts
 * import { defineConfiguration, serveAdminSocket } from '@drakkar/service';
 *
 * const { load } = defineConfiguration({ schema, defaultPath: '/etc/drakkar/config.yaml', examine: () => [], … });
 * await using admin = await serveAdminSocket(path, 'daemon', tracing, (server) => server.get('/v1/status', status));
 * ```
 *
 * @packageDocumentation
 */
export {
  type AdminServer,
  HTTP_STATUS,
  leaves,
  listenOnSocket,
  MAX_NAME_CHARACTERS,
  serveAdminSocket,
} from './admin-socket.ts';
export {
  type Checked,
  type Configuration,
  type ConfigurationOptions,
  defineConfiguration,
} from './configuration.ts';
export { makeDirectory } from './directories.ts';
export { absolutePath, accepts, byteSize, fitsSocket, ipAddress, MAX_SOCKET_BYTES, port } from './fields.ts';
export type { Finding } from './findings.ts';
export { collectLessOften, releaseMemoryWhenIdle } from './idle-memory.ts';
export { loadKey } from './keys.ts';
export { cannotListen, type ListenOptions, listen } from './listen.ts';
export { clashes, type Listener } from './listeners.ts';
export { createLog } from './log.ts';
export { type MetricsServer, metricsTable, serveMetrics } from './metrics-server.ts';
export { nearest } from './nearest.ts';
export { isAnswered } from './sockets.ts';
export {
  type ReportedTrace,
  type Start,
  type TracedStart,
  type TraceFigures,
  Traces,
  type TracesOptions,
} from './traces.ts';
export { formatTraceparent, parseTraceparent, type TraceContext } from './tracing/context.ts';
export { TRACE_HEADER, tracedError, traceRequests } from './tracing/requests.ts';
export { startTracing, type TracingSettings, tracingSettings } from './tracing/settings.ts';
export {
  currentSpan,
  currentTraceparent,
  type FinishedSpan,
  inSpan,
  inTraceOf,
  Span,
  type SpanAttributes,
  type SpanSink,
  untraced,
} from './tracing/span.ts';
export { Tracing } from './tracing/tracing.ts';
