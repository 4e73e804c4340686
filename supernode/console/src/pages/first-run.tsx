import { useData } from '../data.ts';
import type { Status } from '../documents.ts';
import { Page } from '../parts/page.tsx';
import { routeHref } from '../route.ts';

/** What to do next where there is no host yet. */
export function FirstRun() {
  const { value } = useData<Status>('/status');
  const example = `swarm:
  supernode: ${value?.address ?? 'ADDRESS'}
  joinToken: drakkar-…
  labels: { rack: a3, zone: eu-1 }`;
  return (
    <Page title="No hosts yet" lead="The supernode runs. Three steps make it a cluster.">
      <ol class="steps">
        <li>
          <h2>Print what a daemon needs</h2>
          <p>On the supernode’s host, as root:</p>
          <pre>drakkar supernode token</pre>
          <p class="quiet">It prints two settings. The join token is a secret: who has it can join.</p>
        </li>
        <li>
          <h2>Configure each host, and start its daemon</h2>
          <p>
            In <code>/etc/drakkar/config.yaml</code>. Labels say where the host stands: near hosts feed each
            other first.
          </p>
          <pre>{example}</pre>
          <p>
            Then <code>drakkar daemon</code>, and <code>drakkar configure containerd</code> where containerd
            shall use it. <code>drakkar doctor</code> says what is missing.
          </p>
        </li>
        <li>
          <h2>Preheat an image</h2>
          <p>
            <a href={routeHref('jobs', { id: 'new' })}>Make a preheat job</a>: every host has the image’s
            snapshot before somebody starts it.
          </p>
        </li>
      </ol>
      <p class="waiting" role="status">
        This page changes by itself when the first host has joined.
      </p>
    </Page>
  );
}
