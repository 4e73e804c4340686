import { mkdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { answersAt, startChild, untilReady } from './child.ts';
import { freePort } from './ports.ts';
import { temporaryDirectory } from './temporary.ts';

/** nginx with files. What lies in `files/` is under `/`; the same without ranges under `/whole/`, without versions under `/nameless/`. */
export interface WebServer extends AsyncDisposable {
  readonly host: string;
  readonly url: string;
  /** @param changedAt what tells its version from the one before, together with the size: nginx counts seconds */
  put(path: string, bytes: Uint8Array, changedAt?: Date): Promise<void>;
  /** Bytes of bodies that it has sent for paths that contain the text. */
  sentBytes(containing: string): Promise<number>;
  /** Ends it; {@link start} lets it serve again at the same place. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

export interface WebServerOptions {
  /** Further directives of the server. */
  readonly directives?: string;
  /** What one connection gets, at most. */
  readonly bytesPerSecond?: number;
}

export async function startWebServer(options: WebServerOptions = {}): Promise<WebServer> {
  await using stack = new AsyncDisposableStack();
  const { path: directory } = stack.use(await temporaryDirectory('web'));
  const files = join(directory, 'files');
  await mkdir(files);
  const port = await freePort();
  const [config, log] = [join(directory, 'nginx.conf'), join(directory, 'access.log')];
  const errors = join(directory, 'error.log');
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${directory}/${kind};`)
    .join(' ');
  await writeFile(
    config,
    `daemon off; ${user} worker_processes 1; pid ${directory}/nginx.pid; error_log ${errors};
     events {} http { ${temporary}
     log_format bytes '$body_bytes_sent $request_method $status $uri'; access_log ${log} bytes;
     server { listen 127.0.0.1:${port}; root ${files}; limit_rate ${options.bytesPerSecond ?? 0};
       location /whole/ { alias ${files}/; max_ranges 0; }
       location /nameless/ { alias ${files}/; etag off; add_header Last-Modified ""; }
       ${options.directives ?? ''} } }`,
  );
  const url = `http://127.0.0.1:${port}`;
  const begin = async () => {
    const child = startChild('nginx', ['-e', errors, '-c', config]);
    await untilReady(child, 'nginx', () => answersAt(url));
    return child;
  };
  let child = await begin();
  stack.defer(() => child.stop());
  const running = stack.move();
  return {
    host: `127.0.0.1:${port}`,
    url,
    async put(path, bytes, changedAt = new Date()) {
      await writeFile(join(files, path), bytes);
      await utimes(join(files, path), changedAt, changedAt);
    },
    async sentBytes(containing) {
      const lines = (await readFile(log, 'utf8')).split('\n').filter((line) => line.includes(containing));
      return lines.reduce((sum, line) => sum + Number(line.split(' ')[0]), 0);
    },
    stop: () => child.stop(),
    async start() {
      child = await begin();
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
