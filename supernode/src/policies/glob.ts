import { DrakkarError } from '@drakkar/protocol';

/**
 * A pattern over images by their canonical names, `REGISTRY/REPOSITORY[:TAG]`:
 *
 * - `*` any characters of one segment, also none; `?` one of them
 * - `**`, which is a whole segment: one or several; also none where others follow, so that with it in between `ghcr.io` and `app` may be
 *   neighbours
 * - `{a,b}` either; one within another, and no deeper
 *
 * A pattern without a tag matches every tag, and what has none; one with a tag matches only what has one.
 *
 * What has no registry means what it does in a reference, as `parseReference` reads it: `team/app` is `docker.io/team/app`, `debian` and
 * `docker.io/debian` are `docker.io/library/debian`, and so with `deb*` and `library/*`. A first segment names a registry if it has a dot,
 * a colon or a capital, or is `localhost`; or if it is `*` or `**`. `**` alone is every image.
 */
export interface Glob {
  /** As it was written. */
  readonly text: string;
  /** What its braces stand for, each of which may match. */
  readonly plain: readonly Plain[];
}

export interface GlobImage {
  readonly registry: string;
  readonly repository: string;
  readonly tag: string | null;
}

/** A pattern without braces. */
interface Plain {
  readonly path: readonly Step[];
  readonly tag: readonly Step[] | null;
}

/**
 * - a character: itself
 * - `one` and `run`: one character, or any number, of a segment
 * - `all`: any number of characters
 * - `segments`: what follows, an `all` and a slash, or nothing
 */
type Step = { readonly literal: string } | 'one' | 'run' | 'all' | 'segments';

/** They bound a match, too: it takes time as the plain patterns’ length by the name’s, and no more. */
export const GLOB_LIMITS = {
  characters: 512,
  /** Plain patterns that braces stand for. */
  alternatives: 16,
  /** Braces within braces, the outermost counted. */
  depth: 2,
  /** Of all patterns of a policy: as many as it may have, of 64 characters each. */
  places: 4_096,
};

/** A character, and where in the text it is. */
interface Character {
  readonly text: string;
  readonly at: number;
}

type Part = Character | { readonly either: readonly (readonly Part[])[] };

/** What names are made of, and what stands for it. Brackets are for IPv6. */
const PLAIN = /^[A-Za-z0-9._\-/:*?]$/;
const IPV6 = /\[[0-9A-Fa-f:]+\]/y;

/** @throws `invalid_argument` with what is wrong, and where */
export function parseGlob(text: string): Glob {
  if (text === '') throw refusal(text, 'is empty', 0);
  if (text.length > GLOB_LIMITS.characters)
    throw refusal(text, `has more than ${GLOB_LIMITS.characters} characters`, GLOB_LIMITS.characters);
  const parts = new Reader(text).read();
  if (countOf(parts) > GLOB_LIMITS.alternatives)
    throw refusal(text, `stands for more than ${GLOB_LIMITS.alternatives} patterns`, text.indexOf('{'));
  return { text, plain: expand(parts).map((characters) => compile(text, characters)) };
}

function refusal(text: string, why: string, at: number): DrakkarError {
  const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text;
  return new DrakkarError(
    'invalid_argument',
    `the pattern ${JSON.stringify(shown)} ${why} (character ${at + 1})`,
    {
      hint: 'write it as [REGISTRY/]REPOSITORY[:TAG] with *, **, ? and {a,b}',
      details: { at },
    },
  );
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  read(): Part[] {
    const parts = this.#sequence(0);
    const end = this.#text[this.#at];
    if (end === '}') throw refusal(this.#text, 'has a brace that nothing has opened', this.#at);
    if (end === ',') throw refusal(this.#text, 'has a comma outside of braces', this.#at);
    return parts;
  }

  #sequence(depth: number): Part[] {
    const parts: Part[] = [];
    for (;;) {
      const character = this.#text[this.#at];
      if (character === undefined || character === ',' || character === '}') return parts;
      if (character === '{') parts.push(this.#either(depth + 1));
      else if (character === '[' && parts.length === 0) parts.push(...this.#ipv6());
      else if (PLAIN.test(character)) parts.push({ text: character, at: this.#at++ });
      else throw refusal(this.#text, 'has a character that no image has in its name', this.#at);
    }
  }

  #either(depth: number): Part {
    const open = this.#at;
    if (depth > GLOB_LIMITS.depth)
      throw refusal(this.#text, `has braces more than ${GLOB_LIMITS.depth} deep`, open);
    const either: Part[][] = [];
    do {
      this.#at += 1;
      either.push(this.#sequence(depth));
    } while (this.#text[this.#at] === ',');
    if (this.#text[this.#at] !== '}') throw refusal(this.#text, 'has a brace that nothing closes', open);
    this.#at += 1;
    return { either };
  }

  #ipv6(): Character[] {
    IPV6.lastIndex = this.#at;
    const [address] = IPV6.exec(this.#text) ?? [];
    if (address === undefined) throw refusal(this.#text, 'has a bracket that begins no address', this.#at);
    return Array.from(address, (text) => ({ text, at: this.#at++ }));
  }
}

/** How many plain patterns these stand for; what comes beyond the limit is not counted. */
function countOf(parts: readonly Part[]): number {
  let count = 1;
  for (const part of parts) {
    if ('either' in part) count *= part.either.reduce((sum, parts) => sum + countOf(parts), 0);
    if (count > GLOB_LIMITS.alternatives) return count;
  }
  return count;
}

function expand(parts: readonly Part[]): Character[][] {
  let plain: Character[][] = [[]];
  for (const part of parts) {
    const ends = 'either' in part ? part.either.flatMap(expand) : [[part]];
    plain = plain.flatMap((begin) => ends.map((end) => [...begin, ...end]));
  }
  return plain;
}

function compile(text: string, characters: readonly Character[]): Plain {
  const slash = characters.findLastIndex((character) => character.text === '/');
  const colon = characters.findIndex((character, index) => index > slash && character.text === ':');
  const path = colon < 0 ? characters : characters.slice(0, colon);
  checkPath(text, path);
  const segments = collapse(canonical(text, split(path)));
  const steps = segments.flatMap((segment, index) => stepsOf(text, segment, index === segments.length - 1));
  return { path: steps, tag: colon < 0 ? null : tagOf(text, characters.slice(colon)) };
}

function checkPath(text: string, path: readonly Character[]): void {
  if (path.length === 0) throw refusal(text, 'has no repository', 0);
  for (const [index, character] of path.entries()) {
    const isEmpty = index === 0 || index === path.length - 1 || path[index - 1]?.text === '/';
    if (character.text === '/' && isEmpty) throw refusal(text, 'has an empty segment', character.at);
  }
  const first = path.findIndex(({ text }) => text === '/');
  const colon = path.find(({ text }, index) => text === ':' && index > first);
  if (colon !== undefined) throw refusal(text, 'has a colon that begins no tag', colon.at);
}

function split(path: readonly Character[]): Character[][] {
  const segments: Character[][] = [[]];
  for (const character of path) {
    if (character.text === '/') segments.push([]);
    else segments.at(-1)?.push(character);
  }
  return segments;
}

const DOCKER_HUB: ReadonlySet<string> = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);
const dockerHub = charactersOf('docker.io');
const library = charactersOf('library');

/** With the registry, and the part of the repository's name, that a reference may leave out. */
function canonical(text: string, segments: readonly Character[][]): Character[][] {
  const [first = [], ...rest] = segments;
  const name = textOf(first);
  if (rest.length === 0) {
    if (name === '*')
      throw refusal(text, 'is any registry without a repository: write **', first[0]?.at ?? 0);
    return name === '**' ? [first] : [dockerHub, library, first];
  }
  const isRegistry = name === '*' || name === '**' || name === 'localhost' || /[.:[A-Z]/.test(name);
  if (!isRegistry) return [dockerHub, first, ...rest];
  if (!DOCKER_HUB.has(name)) return [first, ...rest];
  const isOfficial = rest.length === 1 && textOf(rest[0] ?? []) !== '**';
  return isOfficial ? [dockerHub, library, ...rest] : [dockerHub, ...rest];
}

/** Several `**` side by side stand for no more than one does. */
function collapse(segments: readonly Character[][]): Character[][] {
  return segments.filter((segment, index) => {
    const next = segments[index + 1];
    return next === undefined || textOf(segment) !== '**' || textOf(next) !== '**';
  });
}

function stepsOf(text: string, segment: readonly Character[], isLast: boolean): Step[] {
  if (textOf(segment) === '**') return isLast ? ['all'] : ['segments', 'all', { literal: '/' }];
  const steps = segment.map((character, index) => stepOf(text, character, segment[index + 1]));
  return isLast ? steps : [...steps, { literal: '/' }];
}

function tagOf(text: string, [colon, ...tag]: readonly Character[]): Step[] {
  const at = tag.find((character) => character.text === ':')?.at;
  if (tag.length === 0 || at !== undefined)
    throw refusal(text, 'has a colon that begins no tag', at ?? colon?.at ?? 0);
  return tag.map((character, index) => stepOf(text, character, tag[index + 1]));
}

function stepOf(text: string, character: Character, next: Character | undefined): Step {
  if (character.text === '*' && next?.text === '*')
    throw refusal(text, 'has ** as a part of a segment: it is a whole one', character.at);
  if (character.text === '*') return 'run';
  return character.text === '?' ? 'one' : { literal: character.text };
}

function charactersOf(text: string): Character[] {
  return Array.from(text, (character) => ({ text: character, at: 0 }));
}

const textOf = (characters: readonly Character[]): string => characters.map(({ text }) => text).join('');

/** How many places its plain patterns have together: what a match takes for each character of a name, at most four steps each. */
export const placesOf = ({ plain }: Glob): number =>
  plain.reduce((sum, { path, tag }) => sum + path.length + (tag?.length ?? 0), 0);

/** Whether it is for images by their tags, too. */
export const namesTag = ({ plain }: Glob): boolean => plain.some(({ tag }) => tag !== null);

export function matches(glob: Glob, image: GlobImage): boolean {
  return measure(glob, image).isMatch;
}

/** A match, and the steps that it took. */
export function measure(glob: Glob, { registry, repository, tag }: GlobImage): GlobMatch {
  const name = `${registry}/${repository}`;
  let steps = 0;
  const fits = (pattern: readonly Step[], text: string): boolean => {
    const result = walk(pattern, text);
    steps += result.steps;
    return result.isMatch;
  };
  const isMatch = glob.plain.some(
    (plain) => (plain.tag === null || (tag !== null && fits(plain.tag, tag))) && fits(plain.path, name),
  );
  return { isMatch, steps };
}

export interface GlobMatch {
  readonly isMatch: boolean;
  readonly steps: number;
}

/**
 * Goes through the text once, and knows all the places of the pattern where one may be: never back, however many ways there are.
 * Of each place it asks at most four things for each character: what is there, and what is reached from there.
 */
function walk(pattern: readonly Step[], text: string): GlobMatch {
  let steps = 0;
  /** With the places that are reached from there without a character. */
  const enter = (places: Set<number>, place: number): void => {
    steps += 1;
    if (places.has(place)) return;
    places.add(place);
    const step = pattern[place];
    if (step === 'run' || step === 'all' || step === 'segments') enter(places, place + 1);
    // Past the `all` and its slash.
    if (step === 'segments') enter(places, place + 3);
  };
  let places = new Set<number>();
  enter(places, 0);
  for (const character of text) {
    const next = new Set<number>();
    for (const place of places) {
      steps += 1;
      const step = pattern[place];
      if (step === 'all' || (step === 'run' && character !== '/')) enter(next, place);
      else if (step === 'one' ? character !== '/' : isLiteral(step, character)) enter(next, place + 1);
    }
    if (next.size === 0) return { isMatch: false, steps };
    places = next;
  }
  return { isMatch: places.has(pattern.length), steps };
}

const isLiteral = (step: Step | undefined, character: string): boolean =>
  typeof step === 'object' && step.literal === character;
