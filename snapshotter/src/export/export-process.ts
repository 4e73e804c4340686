/** Entry of the process that makes a flat image; started by {@link streamFlat} and by nothing else. */
import { pipeline } from 'node:stream/promises';
import { toDrakkarError } from '@drakkar/protocol';
import { endWithParent, sendToParent } from '../own-process.ts';
import { flatImage } from './flat.ts';
import type { FromExporter, ToExporter } from './messages.ts';

const send = sendToParent<FromExporter>;

process.once('message', async ({ source }: ToExporter) => {
  try {
    const image = await flatImage(source);
    await send({ kind: 'planned', sizeBytes: image.sizeBytes });
    await pipeline(image.parts({ signal: new AbortController().signal }), process.stdout);
    process.exit(0);
  } catch (error) {
    await send({ kind: 'failed', error: toDrakkarError(error).toJSON() });
    process.exit(1);
  }
});
endWithParent();
