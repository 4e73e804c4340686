import { useEffect, useId, useRef, useState } from 'preact/hooks';
import { call, withQuery } from '../api.ts';
import type { Blob, Host, Job, Page, Snapshot } from '../documents.ts';
import { route } from '../location.ts';
import { type Hit, type Searched, search } from '../model/search.ts';

const TYPING_MS = 200;
const MOST = 500;
/** Lists that were fetched so recently are looked through again. */
const FRESH_MS = 15_000;

/** Finds hosts, snapshots, jobs and blobs, wherever one is. `/` leads to it. */
export function SearchBox() {
  const [words, setWords] = useState('');
  const [isOpen, setOpen] = useState(false);
  const [active, setActive] = useState(-1);
  const { hits, isDone } = useHits(words);
  const input = useRef<HTMLInputElement>(null);
  const id = useId();
  useSlashKey(input);
  const close = () => {
    setOpen(false);
    setActive(-1);
  };
  // Where one has gone is what was looked for.
  useEffect(() => {
    setWords('');
    close();
  }, [route.value.page, route.value.id]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      event.preventDefault();
      setOpen(true);
      const step = event.key === 'ArrowDown' ? 1 : -1;
      setActive((before) =>
        hits.length === 0 ? -1 : (Math.max(before + step, -1) + hits.length) % hits.length,
      );
    } else if (event.key === 'Enter') {
      const hit = hits[Math.max(0, active)];
      if (hit !== undefined) location.hash = hit.href;
    } else if (event.key === 'Escape') {
      close();
      setWords('');
    }
  };
  const isShown = isOpen && words.trim() !== '';
  return (
    <search class="search">
      <label class="hidden" for={id}>
        Search hosts, snapshots, jobs and blobs
      </label>
      <input
        ref={input}
        id={id}
        type="text"
        role="combobox"
        autocomplete="off"
        spellcheck={false}
        placeholder="Search"
        aria-expanded={isShown}
        aria-controls={`${id}-hits`}
        aria-autocomplete="list"
        {...(active >= 0 && isShown ? { 'aria-activedescendant': `${id}-${active}` } : {})}
        value={words}
        onInput={(event) => {
          setWords(event.currentTarget.value);
          setOpen(true);
          setActive(-1);
        }}
        onFocus={() => setOpen(true)}
        onBlur={close}
        onKeyDown={onKeyDown}
      />
      <span class="key" aria-hidden="true">
        /
      </span>
      <div id={`${id}-hits`} role="listbox" aria-label="What was found" class={isShown ? 'hits' : 'hidden'}>
        {isShown &&
          hits.map((hit, index) => (
            <HitItem key={hit.href} id={`${id}-${index}`} hit={hit} isActive={index === active} />
          ))}
      </div>
      <p class={isShown && isDone && hits.length === 0 ? 'hits none' : 'hidden'} role="status">
        {isShown && isDone ? (hits.length === 0 ? 'Nothing is called so.' : `${hits.length} found`) : ''}
      </p>
    </search>
  );
}

function HitItem({
  id,
  hit,
  isActive,
}: {
  readonly id: string;
  readonly hit: Hit;
  readonly isActive: boolean;
}) {
  return (
    <div
      id={id}
      role="option"
      aria-selected={isActive}
      tabIndex={-1}
      onMouseDown={(event) => {
        event.preventDefault();
        location.hash = hit.href;
      }}
    >
      <span class="hit-kind">{hit.kind}</span>
      <span class="hit-title">{hit.title}</span>
      <span class="hit-detail">{hit.detail}</span>
    </div>
  );
}

type Lists = Omit<Searched, 'hosts'>;

let lists: { atMs: number; value: Promise<Lists> } | undefined;

function useHits(words: string): { hits: readonly Hit[]; isDone: boolean } {
  const [found, setFound] = useState<{ words: string; hits: readonly Hit[] }>({ words: '', hits: [] });
  useEffect(() => {
    if (words.trim() === '') return;
    const ended = new AbortController();
    const timer = setTimeout(async () => {
      const [hosts, others] = await Promise.all([hostsLike(words, ended.signal), allLists()]);
      if (!ended.signal.aborted) setFound({ words, hits: search(words, { hosts, ...others }) });
    }, TYPING_MS);
    return () => {
      ended.abort();
      clearTimeout(timer);
    };
  }, [words]);
  return words.trim() === ''
    ? { hits: [], isDone: false }
    : { hits: found.hits, isDone: found.words === words };
}

async function hostsLike(words: string, signal: AbortSignal): Promise<readonly Host[]> {
  const [first = ''] = words.trim().split(/\s+/);
  return await itemsOf<Host>(withQuery('/hosts', { q: first.slice(0, 255), limit: 50 }), signal);
}

function allLists(): Promise<Lists> {
  if (lists === undefined || Date.now() - lists.atMs > FRESH_MS) {
    const fetched = Promise.all([
      itemsOf<Snapshot>(`/snapshots?limit=${MOST}`),
      itemsOf<Job>(`/jobs?limit=${MOST}`),
      itemsOf<Blob>(`/blobs?limit=${MOST}`),
    ]);
    lists = {
      atMs: Date.now(),
      value: fetched.then(([snapshots, jobs, blobs]) => ({ snapshots, jobs, blobs })),
    };
  }
  return lists.value;
}

/** What cannot be fetched has nothing that could be found. */
async function itemsOf<Item>(path: string, signal?: AbortSignal): Promise<readonly Item[]> {
  try {
    return (await call<Page<Item>>(path, signal === undefined ? {} : { signal })).items;
  } catch {
    return [];
  }
}

function useSlashKey(input: { readonly current: HTMLInputElement | null }): void {
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      const isTyping =
        event.target instanceof Element && event.target.closest('input, textarea, select, dialog') !== null;
      if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      input.current?.focus();
    };
    addEventListener('keydown', onKeyDown);
    return () => removeEventListener('keydown', onKeyDown);
  }, [input]);
}
