/**
 * A process that owns a store and downloads for ever, to be killed at any moment. Arguments: state directory, quota, registry,
 * repository, digests. It writes a line for each thing that it has begun or got on with.
 */
import { flushCompileCache } from 'node:module';
import { parseDigest } from '@drakkar/protocol';
import { createContent, newReceipt } from '../../src/content/index.ts';
import { openStore } from '../../src/store/index.ts';
import { createRegistryClient } from '../../src/upstream/index.ts';

const [directory = '', quota = '', registry = '', repository = '', ...digests] = process.argv.slice(2);
const store = await openStore({ directory, quotaBytes: Number(quota) });
using client = createRegistryClient();
const content = createContent({}, { store, client });
const say = (what: string) => process.stdout.write(`${what}\n`);
say('open');
// Who is killed does not write at its end what it has compiled.
flushCompileCache();
const wanted = digests.map((digest) => parseDigest(digest));

async function downloadForEver(offset: number): Promise<never> {
  for (let turn = offset; ; turn += 1) {
    const digest = wanted[turn % wanted.length];
    if (digest === undefined) throw new Error('no digests were given');
    await content.fetch({ image: { registry, repository }, digest }, newReceipt(), {
      onBytes: () => say('bytes'),
    });
    say('done');
  }
}
await Promise.all([downloadForEver(0), downloadForEver(2)]);
