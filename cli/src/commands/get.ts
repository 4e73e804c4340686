import type { AdminClient, GetRequest, GetResult } from '@drakkar/client';
import { DrakkarError, errnoOf, isDrakkarError } from '@drakkar/errors';
import { defineCommand } from '../command-line/command.ts';
import { type Context, showing } from '../context.ts';
import { parseRange, type WantedRange } from '../get/range.ts';
import { Stdout } from '../get/stdout.ts';
import { nameFromUrl, PartFile, requireWritable } from '../get/target.ts';
import { type Sink, Transfer } from '../get/transfer.ts';
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
      const result =
        file === STDOUT
          ? await toStdout(context, client, request, part)
          : await toFile(context, client, request, part, file);
      if (result === undefined) return;
      // The daemon's time ends when the content is here; the caller's, when the file is.
      const done = { ...result, file, elapsedMs: performance.now() - startedMs };
      if (file === STDOUT) context.say(describe(done));
      else context.answer(done, describe(done));
    },
  }),
];

async function toFile(
  context: Context,
  client: AdminClient,
  request: GetRequest,
  part: WantedRange | undefined,
  path: string,
): Promise<GetResult> {
  await using file = await PartFile.open(path, part === undefined ? '.part' : '.range-part');
  try {
    if (part !== undefined) await file.restart();
    const result = await (part === undefined
      ? takeWhole(context, client, request, file)
      : takePart(context, client, request, part, file));
    await file.finish();
    return result;
  } catch (error) {
    if (file.bytes === 0 || isDrakkarError(error, 'invalid_content')) await file.discard();
    throw error;
  }
}

/** @returns nothing where the reader has left, as `head` does */
async function toStdout(
  context: Context,
  client: AdminClient,
  request: GetRequest,
  part: WantedRange | undefined,
): Promise<GetResult | undefined> {
  const stdout = new Stdout();
  try {
    return await (part === undefined
      ? takeWhole(context, client, request, stdout)
      : takePart(context, client, request, part, stdout));
  } catch (error) {
    if (errnoOf(error) === 'EPIPE') return undefined;
    throw error;
  }
}

/** The bytes are taken while they arrive. */
async function takeWhole(
  context: Context,
  client: AdminClient,
  request: GetRequest,
  sink: Sink,
): Promise<GetResult> {
  const transfer = new Transfer(client, sink, context.signal);
  const result = await showing<GetResult>({ ...context, signal: transfer.signal }, (call) =>
    client.get(request, {
      ...call,
      onEvent: (event) => {
        if (event.type === 'opened') transfer.begin(event);
        call.onEvent?.(event);
      },
    }),
  ).catch((error) => {
    throw transfer.failure ?? error;
  });
  await transfer.end(result);
  return result;
}

async function takePart(
  context: Context,
  client: AdminClient,
  request: GetRequest,
  { startBytes, endBytes }: WantedRange,
  sink: Sink,
): Promise<GetResult> {
  const result = await showing<GetResult>(context, (call) => client.get(request, call));
  const range = { startBytes, endBytes: Math.min(endBytes ?? result.sizeBytes, result.sizeBytes) };
  for await (const bytes of await client.content(result.content, range, context.signal))
    await sink.take(bytes);
  return result;
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
