import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { AdminClient, GetResult } from '@drakkar/client';
import { DrakkarError, errnoOf } from '@drakkar/errors';
import { defineCommand } from '../command-line/command.ts';
import { type Context, showing } from '../context.ts';
import { parseRange, type WantedRange } from '../get/range.ts';
import { nameFromUrl, requireWritable, writePart, writeWhole } from '../get/target.ts';
import { formatBytes, formatDuration } from '../output/format.ts';
import { describeReceipt } from '../output/receipt.ts';

const STDOUT = '-';

/** `drakkar get URL`: a file of a web server, through the store and the swarm. */
export const commands = [
  defineCommand({
    name: 'get',
    summary: 'download a file over HTTP(S), from other hosts where they have it',
    notes:
      'Writes FILE.part, which the next get of the same file goes on from, and renames it when all of it has been verified.\n' +
      'With --sha256 all hosts of the swarm share it from its first byte; without, one of them reads it first.',
    positionals: ['<url>'],
    options: {
      output: {
        short: 'o',
        value: 'file',
        summary: 'where to write it, - for stdout (default: as the URL ends)',
      },
      sha256: { value: 'hex', summary: 'what its bytes must be' },
      range: {
        value: 'start-end',
        summary: 'only these bytes, both included, as soon as they are here; verified with the whole only',
      },
    },
    async run(context, [url], { output, sha256, range }) {
      const startedMs = performance.now();
      const file = output ?? nameFromUrl(url);
      const part = range === undefined ? undefined : parseRange(range);
      if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256)) {
        throw new DrakkarError('invalid_argument', `--sha256 ${JSON.stringify(sha256)} is no sha256`, {
          hint: 'write it as 64 hex digits, as sha256sum prints it',
        });
      }
      if (file === STDOUT && context.json) {
        throw new DrakkarError('invalid_argument', '--json and -o - both want stdout', {
          hint: 'write to a file, or leave out --json',
        });
      }
      if (file !== STDOUT) await requireWritable(file);
      const client = await context.client();
      const request = { url, sha256: sha256?.toLowerCase(), ...part };
      const result = await showing<GetResult>(context, (call) => client.get(request, call));
      if (part !== undefined) await takePart(context, client, result, file, part);
      else if (file === STDOUT) await print(context, client, result, { startBytes: 0, endBytes: undefined });
      else await takeWhole(context, client, result, file);
      // The daemon's time ends when the content is here; the caller's, when the file is.
      const done = { ...result, file, elapsedMs: performance.now() - startedMs };
      if (file === STDOUT) context.say(describe(done));
      else context.answer(done, describe(done));
    },
  }),
];

async function takeWhole(
  context: Context,
  client: AdminClient,
  result: GetResult,
  file: string,
): Promise<void> {
  const { content, sizeBytes } = result;
  using progress = await context.progress();
  const whole = {
    digest: content,
    sizeBytes,
    read: (startBytes: number) =>
      client.content(content, { startBytes, endBytes: sizeBytes }, context.signal),
  };
  await writeWhole(file, whole, (doneBytes) =>
    progress.update({ phase: 'write', doneBytes, totalBytes: sizeBytes }),
  );
}

async function takePart(
  context: Context,
  client: AdminClient,
  result: GetResult,
  file: string,
  part: WantedRange,
): Promise<void> {
  if (file === STDOUT) await print(context, client, result, part);
  else await writePart(file, await read(context, client, result, part));
}

function read(
  context: Context,
  client: AdminClient,
  { content, sizeBytes }: GetResult,
  { startBytes, endBytes = sizeBytes }: WantedRange,
): Promise<AsyncIterable<Buffer>> {
  const range = { startBytes, endBytes: Math.min(endBytes, sizeBytes) };
  return client.content(content, range, context.signal);
}

async function print(
  context: Context,
  client: AdminClient,
  result: GetResult,
  range: WantedRange,
): Promise<void> {
  try {
    await pipeline(Readable.from(await read(context, client, result, range)), process.stdout, { end: false });
  } catch (cause) {
    // A reader that has left, as `head` does, is no error.
    if (errnoOf(cause) !== 'EPIPE') throw cause;
  }
}

function describe({
  url,
  file,
  digest,
  sizeBytes,
  receipt,
  elapsedMs,
}: GetResult & { file: string }): string {
  const name = file === STDOUT ? url : file;
  return (
    `${name}\n${digest ?? 'sha256 not known yet'}\n` +
    `${formatBytes(sizeBytes)} in ${formatDuration(elapsedMs)}: ${describeReceipt(receipt, 'the server')}`
  );
}
