/**
 * Loaded into a process before its own program, with `--import …/sampler.ts?directory=…`: takes a V8 CPU profile of it, from its beginning to its end, into a file that is
 * called by its pid. Node's own `--cpu-prof` would lose that of a builder, which is killed once it has said what it has built.
 */
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';

const SAMPLING_US = 1_000;

if (isMainThread) {
  const directory = new URL(import.meta.url).searchParams.get('directory') ?? '.';
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.setSamplingInterval', { interval: SAMPLING_US });
  session.post('Profiler.start');
  const end = () =>
    session.post('Profiler.stop', (error, result) => {
      if (error === null)
        writeFileSync(join(directory, `${process.pid}.json`), JSON.stringify(result.profile));
    });
  process.once('exit', end);
  const { send } = process;
  if (send !== undefined) {
    process.send = new Proxy(send, {
      apply(target, self, args: [{ readonly kind?: string }]) {
        if (args[0].kind === 'built') end();
        return Reflect.apply(target, self, args);
      },
    });
  }
}
