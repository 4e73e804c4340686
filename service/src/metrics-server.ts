import { createServer } from 'node:http';
import type { Registry } from 'prom-client';
import { listen } from './listen.ts';

export interface MetricsServer extends AsyncDisposable {
  readonly port: number;
}

/**
 * Serves `/metrics` for Prometheus, `/healthz`, which says that the process answers, and `/readyz`, which says whether it can do its work.
 *
 * @param whyNot why it can't; nothing where it can
 * @throws `busy` where the port is taken
 */
export async function serveMetrics(
  address: string,
  port: number,
  registry: Registry,
  whyNot: () => Promise<string | undefined> = async () => undefined,
): Promise<MetricsServer> {
  const server = createServer((request, response) => {
    if (request.url === '/healthz') {
      response.end('ok\n');
    } else if (request.url === '/readyz') {
      whyNot().then(
        (why) => response.writeHead(why === undefined ? 200 : 503).end(`${why ?? 'ready'}\n`),
        () => response.writeHead(503).end('it can’t be said\n'),
      );
    } else if (request.url === '/metrics') {
      response.setHeader('content-type', registry.contentType);
      registry.metrics().then(
        (text) => response.end(text),
        () => response.writeHead(500).end(),
      );
    } else {
      response.writeHead(404).end();
    }
  });
  const bound = await listen(server, {
    address,
    port,
    what: 'the metrics server',
    settings: 'metrics',
    instead: 'set metrics.port to a free port',
  });
  return {
    port: bound,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Documented {
  readonly name: string;
  readonly help: string;
  readonly type: string;
}

/** A table of all metrics of a registry, for the documentation. */
export async function metricsTable(registry: Registry): Promise<string> {
  const metrics = (await registry.getMetricsAsJSON()) as unknown as Documented[];
  const rows = metrics
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, type, help }) => `| \`${name}\` | ${type} | ${help} |`);
  return ['| metric | kind | meaning |', '| --- | --- | --- |', ...rows].join('\n');
}
