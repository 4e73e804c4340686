import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort, startCollector, temporaryDirectory } from '@drakkar/lab';
import { describe, expect, test } from 'vitest';
import { inSpan, startTracing, tracingSettings } from '../../src/index.ts';

const IDENTITY = { name: 'drakkar-test', version: '1.2.3', instance: 'host-1' };

function newLog() {
  const messages: string[] = [];
  const say = (_: object, message: string) => void messages.push(message);
  return { messages, info: say, warn: say };
}

const settings = (otlp: object, rest: object = {}) => tracingSettings.parse({ otlp, ...rest });

describe('a collector', () => {
  test('gets what was done, with its place in the trace, when it was, and how it ended', async () => {
    await using collector = await startCollector();
    await using directory = await temporaryDirectory('tracing');
    const headersFile = join(directory.path, 'headers');
    await writeFile(headersFile, 'Authorization: Bearer secret word\n\nx-tenant:ships\n');
    const beforeMs = Date.now();
    {
      const { url } = collector;
      await using tracing = await startTracing(settings({ url, headersFile }), IDENTITY, newLog());
      const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
      const failed = tracing.run('pull', { traceparent, attributes: { image: 'debian', layers: 3 } }, () =>
        inSpan('download', { kind: 'client' }, async () => {
          await Promise.resolve();
          throw new Error('broken');
        }),
      );
      await expect(failed).rejects.toThrow('broken');
    }
    expect(collector.headers).toMatchObject({ authorization: 'Bearer secret word', 'x-tenant': 'ships' });
    const [download, pull] = collector.spans;
    expect(pull).toMatchObject({
      ...{ service: 'drakkar-test', instance: 'host-1', name: 'pull', kind: 2 },
      ...{ traceId: '4bf92f3577b34da6a3ce929d0e0e4736', parentSpanId: '00f067aa0ba902b7' },
      attributes: { image: 'debian', layers: 3, 'error.type': 'internal' },
    });
    expect(download).toMatchObject({ name: 'download', kind: 3, parentSpanId: pull?.spanId });
    expect(pull?.startedAtMs).toBeGreaterThanOrEqual(beforeMs);
    expect(pull?.endedAtMs).toBeGreaterThanOrEqual(pull?.startedAtMs ?? Number.POSITIVE_INFINITY);
  });

  test('that is away or silent is waited for by nobody, and heard of once', async () => {
    const log = newLog();
    const url = `http://127.0.0.1:${await freePort()}/v1/traces`;
    await using tracing = await startTracing(settings({ url }), IDENTITY, log);
    for (let index = 0; index < 10_000; index += 1) tracing.run('pull', {}, () => {});
    await expect.poll(() => log.messages).toEqual(['traces can’t be exported: they are dropped']);
    await using silent = await startCollector();
    silent.setAway(true);
    const other = await startTracing(settings({ url: silent.url }), IDENTITY, log);
    other.run('pull', {}, () => {});
    await other[Symbol.asyncDispose]();
    expect(silent.spans).toEqual([]);
  });

  test('that is back gets what is done from then on', async () => {
    await using collector = await startCollector();
    const log = newLog();
    await using tracing = await startTracing(settings({ url: collector.url }), IDENTITY, log);
    collector.setAway(true);
    tracing.run('lost', {}, () => {});
    await expect.poll(() => log.messages).toHaveLength(1);
    collector.setAway(false);
    tracing.run('kept', {}, () => {});
    await expect.poll(() => collector.spans.map(({ name }) => name)).toContain('kept');
    await expect.poll(() => log.messages).toHaveLength(2);
  });
});

test('a file of headers that is none is said at the start, without what stands in it', async () => {
  await using directory = await temporaryDirectory('tracing');
  const headersFile = join(directory.path, 'headers');
  const start = () =>
    startTracing(settings({ url: 'http://127.0.0.1:4318/v1/traces', headersFile }), IDENTITY, newLog());
  await expect(start()).rejects.toThrow(/cannot be read/);
  await writeFile(headersFile, 'x: y\nsecret\n');
  await expect(start()).rejects.toThrow(/has no header on line 2$/);
  expect(() => settings({ url: 'http://me:secret@127.0.0.1/v1/traces' })).toThrow(/headersFile/);
  expect(() => settings({}, { sampleRatio: 2 })).toThrow();
});
