import { useEffect, useRef, useState } from 'preact/hooks';
import { Watch, type Watched, type WatchOptions } from './watch.ts';

export interface Data<Value> extends Watched<Value> {
  refresh(): void;
  set(value: Value): void;
}

export interface DataOptions<Value> extends WatchOptions<Value> {
  /** What was known of the path before is shown until something is known of this one, as of the pages of a list. */
  readonly showsLast?: boolean;
}

const NOTHING = { value: null, problem: null };

/** Something of the API, kept up to date while it is shown. A path of `null` is nothing. */
export function useData<Value>(path: string | null, options: DataOptions<Value> = {}): Data<Value> {
  const [seen, see] = useState<{ of: string | null; watched: Watched<Value> }>({
    of: null,
    watched: NOTHING,
  });
  const latest = useRef(options);
  latest.current = options;
  const watch = useRef<Watch<Value> | null>(null);
  useEffect(() => {
    if (path === null) return;
    const begun = new Watch<Value>(
      path,
      () => latest.current,
      (watched) => see({ of: path, watched }),
    );
    watch.current = begun;
    return () => begun.end();
  }, [path]);
  const isShown = seen.of === path || options.showsLast === true;
  const { value, problem } = isShown ? seen.watched : NOTHING;
  return {
    value,
    problem,
    refresh: () => watch.current?.refresh(),
    set: (known) => watch.current?.set(known),
  };
}
