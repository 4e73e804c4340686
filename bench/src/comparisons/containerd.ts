import { pulledBy, startContainerds } from './containerds.ts';
import type { Contender } from './contender.ts';

/** Everyone from the registry. */
export const containerd: Contender = {
  name: 'containerd',
  async prepare(site) {
    await using stack = new AsyncDisposableStack();
    const pulled = await pulledBy(site, await startContainerds(site, stack));
    const running = stack.move();
    return { ...pulled, [Symbol.asyncDispose]: () => running.disposeAsync() };
  },
};
