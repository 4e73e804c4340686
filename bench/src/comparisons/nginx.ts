import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { answersAt, startChild, untilReady } from '@drakkar/lab';
import { pulledBy, startContainerds } from './containerds.ts';
import type { Contender } from './contender.ts';

const PORT = 5_000;

/** A machine more beside the hosts, with a link as theirs: nginx on it keeps what it has once fetched, and containerd asks it. */
export const nginx: Contender = {
  name: 'nginx, pull-through cache',
  async prepare(site) {
    await using stack = new AsyncDisposableStack();
    const { address, within } = await site.addMachine();
    const [config, log] = [join(site.directory, 'nginx.conf'), join(site.directory, 'nginx.log')];
    await writeFile(config, configuration(site.directory, log, address, site.registry.url));
    const child = stack.use(startChild(...within('nginx', ['-e', log, '-c', config])));
    const url = `http://${address}:${PORT}`;
    await untilReady(child, 'nginx', () => answersAt(`${url}/v2/`));
    const pulled = await pulledBy(site, await startContainerds(site, stack), () => url);
    const running = stack.move();
    return { ...pulled, [Symbol.asyncDispose]: () => running.disposeAsync() };
  },
};

/** One at a time fetches what several ask for; the others wait until all of it is there. Only what has a digest is kept. */
function configuration(directory: string, log: string, address: string, upstream: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${directory}/${kind};`)
    .join(' ');
  return `daemon off; user root; worker_processes 1; pid ${directory}/nginx.pid; error_log ${log};
    events {} http { access_log off; sendfile on; tcp_nopush on; ${temporary}
    proxy_cache_path ${directory}/cache levels=1:2 keys_zone=registry:16m max_size=20g use_temp_path=off;
    server { listen ${address}:${PORT};
      location / { proxy_pass ${upstream}; proxy_http_version 1.1; proxy_set_header Host $http_host; }
      location ~ ^/v2/.*/(blobs|manifests)/sha256: {
        proxy_pass ${upstream}; proxy_http_version 1.1; proxy_set_header Host $http_host;
        proxy_cache registry; proxy_cache_key $uri; proxy_cache_valid 200 1d;
        proxy_cache_lock on; proxy_cache_lock_timeout 1h; proxy_cache_lock_age 1h; } } }`;
}
