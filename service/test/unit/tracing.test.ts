import { setImmediate } from 'node:timers/promises';
import { DrakkarError } from '@drakkar/protocol';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  currentSpan,
  type FinishedSpan,
  formatTraceparent,
  inSpan,
  parseTraceparent,
  Tracing,
  untraced,
} from '../../src/index.ts';

const hex = (digits: number) =>
  fc.stringMatching(new RegExp(`^[0-9a-f]{${digits}}$`)).filter((text) => /[^0]/.test(text));
const contexts = fc.record({ traceId: hex(32), spanId: hex(16), isSampled: fc.boolean() });

describe('a traceparent', () => {
  test('that was written is read as it was', () => {
    fc.assert(
      fc.property(contexts, (context) => {
        expect(parseTraceparent(formatTraceparent(context))).toEqual(context);
      }),
    );
  });

  test('of a later version is read as far as it is known', () => {
    fc.assert(
      fc.property(
        contexts,
        fc.stringMatching(/^[0-9a-e][1-9a-f]$/),
        fc.string({ maxLength: 100 }),
        (context, version, rest) => {
          const text = formatTraceparent(context).replace(/^00/, version);
          expect(parseTraceparent(text)).toEqual(context);
          expect(parseTraceparent(`${text}-${rest}`)).toEqual(context);
          expect(parseTraceparent(`${text}0`)).toBeUndefined();
        },
      ),
    );
  });

  test('is nothing but that: whatever else is said begins no trace', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.anything()), (text) => {
        expect(parseTraceparent(text)).toBeUndefined();
      }),
    );
    const good = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    expect(parseTraceparent(good)).toBeDefined();
    for (const bad of [
      ...[
        `${good}-00`,
        ` ${good}`,
        `${good}\n`,
        good.toUpperCase(),
        good.replace('00-', 'ff-'),
        good.slice(0, -1),
      ],
      ...[
        good.replace('4bf92f3577b34da6a3ce929d0e0e4736', '0'.repeat(32)),
        good.replace('00f067aa0ba902b7', '0'.repeat(16)),
      ],
      ...[`01${good.slice(2)}-${'x'.repeat(300)}`, [good]],
    ])
      expect(parseTraceparent(bad), String(bad)).toBeUndefined();
  });
});

function collect(options: { readonly sampleRatio?: number } = {}) {
  const spans: FinishedSpan[] = [];
  return {
    spans,
    tracing: new Tracing({
      ...options,
      sink: { add: (span) => void spans.push(span), [Symbol.asyncDispose]: async () => {} },
    }),
  };
}

describe('what is done for a trace', () => {
  test('is told of when it has ended, with what it was done for', async () => {
    const { spans, tracing } = collect();
    const result = await tracing.run('pull', { attributes: { image: 'debian' } }, async () => {
      await setImmediate();
      return await inSpan('download', { kind: 'client' }, async () => {
        await setImmediate();
        currentSpan()?.set({ bytes: 3 });
        return 7;
      });
    });
    expect(result).toBe(7);
    const [download, pull] = spans;
    expect(pull).toMatchObject({
      name: 'pull',
      kind: 'server',
      parentSpanId: undefined,
      attributes: { image: 'debian' },
    });
    expect(download).toMatchObject({
      name: 'download',
      kind: 'client',
      attributes: { bytes: 3 },
      parentSpanId: pull?.context.spanId,
    });
    expect(download?.context.traceId).toBe(pull?.context.traceId);
    expect(spans).toHaveLength(2);
  });

  test('says with which error it ended, which whoever asked for it gets as well', async () => {
    const { spans, tracing } = collect();
    const away = new DrakkarError('unavailable', 'away');
    await expect(tracing.run('pull', {}, async () => await Promise.reject(away))).rejects.toBe(away);
    expect(() =>
      tracing.run('find', {}, () => {
        throw away;
      }),
    ).toThrow(away);
    expect(spans.map(({ errorCode }) => errorCode)).toEqual(['unavailable', 'unavailable']);
  });

  test('goes on with the trace that it came with, sampled or not, whatever is sampled here', () => {
    const { spans, tracing } = collect({ sampleRatio: 0 });
    tracing.run('pull', { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' }, () => {});
    tracing.run('pull', { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00' }, () => {});
    tracing.run('pull', { traceparent: 'nonsense' }, () => {});
    expect(spans).toMatchObject([
      { parentSpanId: '00f067aa0ba902b7', context: { traceId: '4bf92f3577b34da6a3ce929d0e0e4736' } },
    ]);
  });

  test('has no more than so many parts: the first ones', () => {
    const { spans, tracing } = collect();
    tracing.run('pull', {}, () => {
      for (let piece = 0; piece < 1_000; piece += 1) inSpan('piece', { attributes: { piece } }, () => {});
    });
    expect(spans).toHaveLength(513);
    expect(spans.at(-1)?.name).toBe('pull');
  });

  test('is a trace where nobody wants to see it, too; what is done for none is none', async () => {
    const tracing = new Tracing();
    const span = tracing.begin('pull');
    expect(inSpan('nothing', {}, () => currentSpan())).toBeUndefined();
    await span.run(async () => {
      await setImmediate();
      expect(inSpan('download', {}, () => currentSpan()?.context.traceId)).toBe(span.context.traceId);
      expect(untraced(() => currentSpan())).toBeUndefined();
    });
    expect(span.context.isSampled).toBe(false);
  });
});
