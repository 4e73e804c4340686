import { describe, expect, test } from 'vitest';
import { SingleFlight } from '../../../src/snapshots/single-flight.ts';

const never = new AbortController().signal;

describe('a single flight', () => {
  test('runs once for all who ask at the same time, and again for who asks later', async () => {
    const flights = new SingleFlight<string, number>();
    let runs = 0;
    const task = async () => ++runs;
    expect(await Promise.all([flights.run('a', never, task), flights.run('a', never, task)])).toEqual([1, 1]);
    expect(await flights.run('a', never, task)).toBe(2);
    expect(await flights.run('b', never, task)).toBe(3);
  });

  test('goes on while one waiter is left, and is aborted with the last', async () => {
    const flights = new SingleFlight<string, string>();
    const [first, second] = [new AbortController(), new AbortController()];
    let aborted = false;
    const { promise, resolve } = Promise.withResolvers<string>();
    const task = (signal: AbortSignal) => {
      signal.addEventListener('abort', () => {
        aborted = true;
      });
      return promise;
    };
    const [one, two] = [flights.run('a', first.signal, task), flights.run('a', second.signal, task)];
    first.abort(new Error('left'));
    await expect(one).rejects.toThrow('left');
    expect(aborted).toBe(false);
    second.abort(new Error('left, too'));
    await expect(two).rejects.toThrow('left, too');
    expect(aborted).toBe(true);
    resolve('too late');
    expect(await flights.run('a', never, async () => 'anew')).toBe('anew');
  });

  test('a failure reaches every waiter and is forgotten', async () => {
    const flights = new SingleFlight<string, number>();
    const fail = () => Promise.reject(new Error('no'));
    const both = [flights.run('a', never, fail), flights.run('a', never, fail)];
    for (const outcome of both) await expect(outcome).rejects.toThrow('no');
    expect(await flights.run('a', never, async () => 1)).toBe(1);
  });

  test('whoever has left before does not begin', async () => {
    const flights = new SingleFlight<string, number>();
    await expect(flights.run('a', AbortSignal.abort(new Error('gone')), async () => 1)).rejects.toThrow(
      'gone',
    );
  });
});
