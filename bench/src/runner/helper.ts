import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type NativeHelper, nativeHelper, startHelper } from '@drakkar/daemon';

const START_DEADLINE_MS = 30_000;

/** Where the helper of a host listens. */
export const nativeSocketOf = (home: string): string => join(home, 'native.sock');

/** The native helper of a host whose daemon keeps its state in `HOME/state`. When it is disposed, everything that it has mounted goes. */
export async function startHelperIn(home: string): Promise<AsyncDisposable & { readonly pid: number }> {
  const state = join(home, 'state');
  const content = join(state, 'volumes');
  const socket = nativeSocketOf(home);
  await mkdir(content, { recursive: true });
  const helper = await startHelper({
    root: join(home, 'native'),
    content,
    blobs: join(state, 'blobs', 'sha256'),
    socket,
    uid: process.getuid?.() ?? 0,
    signal: AbortSignal.timeout(START_DEADLINE_MS),
  });
  return {
    pid: helper.pid,
    async [Symbol.asyncDispose]() {
      await using asked = nativeHelper(socket);
      await unmountAll(asked).finally(() => helper[Symbol.asyncDispose]());
    },
  };
}

async function unmountAll(helper: NativeHelper): Promise<void> {
  for (const { volume, overlays } of await helper.volumes()) {
    for (const overlay of overlays) await helper.removeOverlay(overlay);
    await helper.umountVolume(volume);
  }
}
