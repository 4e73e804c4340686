import { getCompileCacheDir } from 'node:module';

/** For processes that this package starts: what was compiled once is used again, where the parent has a cache of its own. */
export function compileCacheEnvironment(): { readonly NODE_COMPILE_CACHE?: string } {
  const directory = getCompileCacheDir();
  return directory === undefined ? {} : { NODE_COMPILE_CACHE: directory };
}

/** Ends when the parent's end of the channel has it, or there is no parent any more. */
export function sendToParent<Message extends object>(message: Message): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve();
    else process.send(message, () => resolve());
  });
}
