import { readFile } from 'node:fs/promises';
import { DrakkarError } from '@drakkar/protocol';
import { z } from 'zod';
import { absolutePath } from '../fields.ts';
import type { ServiceIdentity, SinkLog } from './otlp.ts';
import { Tracing } from './tracing.ts';

/** Where a process exports its traces, as its configuration says. */
export const tracingSettings = z.strictObject({
  otlp: z
    .strictObject({
      url: z
        .url({ protocol: /^https?$/, error: 'is no URL of http or https' })
        .refine((url) => !/^[a-z]+:\/\/[^/?#]*@/.test(url), 'may not hold a password; use headersFile')
        .nullable()
        .default(null)
        .describe(
          'Where a collector takes traces, OTLP over HTTP: `http://HOST:4318/v1/traces`. `null` exports none: lines of the log have trace ids all the same.',
        ),
      headersFile: absolutePath
        .nullable()
        .default(null)
        .describe('A file of headers that the collector wants to see, `NAME: VALUE` on each line.'),
    })
    .prefault({})
    .describe('Export to OpenTelemetry.'),
  sampleRatio: z
    .number()
    .min(0)
    .max(1)
    .default(1)
    .describe(
      'How much of what begins here is exported, from 0 to 1. What comes from elsewhere is where its sender exports it.',
    ),
});
export type TracingSettings = z.output<typeof tracingSettings>;

/** What is needed to export is loaded only where it is to be. @throws `invalid_argument` for a file of headers that is none */
export async function startTracing(
  { otlp, sampleRatio }: TracingSettings,
  identity: ServiceIdentity,
  log: SinkLog,
): Promise<Tracing> {
  const { url, headersFile } = otlp;
  if (url === null) return new Tracing();
  const headers = headersFile === null ? {} : await readHeaders(headersFile);
  const { OtlpSink } = await import('./otlp.ts');
  return new Tracing({ sink: new OtlpSink({ url, headers, identity }, log), sampleRatio });
}

/** Source: RFC 9110, 5.1 and 5.5. */
const HEADER = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?[ \t]*$/;

async function readHeaders(file: string): Promise<Record<string, string>> {
  const refuse = (why: string, cause?: unknown) =>
    new DrakkarError('invalid_argument', `the file ${file} ${why}`, {
      hint: 'correct tracing.otlp.headersFile, or write `NAME: VALUE` on each line of the file',
      cause,
    });
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw refuse('cannot be read', cause);
  });
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  return Object.fromEntries(
    lines.map((line, index) => {
      const [, name, value = ''] = HEADER.exec(line) ?? [];
      if (name === undefined) throw refuse(`has no header on line ${index + 1}`);
      return [name, value];
    }),
  );
}
