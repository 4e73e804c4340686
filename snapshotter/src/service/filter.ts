import { DrakkarError } from '@drakkar/protocol';

/** What a filter asks of a thing: the value of a field, or nothing where it has none. */
export type Fields = (path: readonly string[]) => string | undefined;

export type Filter = (fields: Fields) => boolean;

/** All that containerd sends is shorter by far. */
const MAX_FILTERS = 1024;
const MAX_FILTER_CHARACTERS = 16 * 1024;

/**
 * Filters of containerd's language, of which any must match; nothing filters nothing out.
 *
 * ```text
 * filter   := selector (',' selector)*          all must match
 * selector := path (('==' | '!=' | '~=') value)?  without an operator: the field is there
 * path     := field ('.' field)*
 * field    := quoted | [A-Za-z_][A-Za-z0-9_]*
 * value    := quoted | [^\s,]+
 * quoted   := a Go string in " or '; behind ~= in / or | as well
 * ```
 *
 * Source: pkg/filters of containerd.
 *
 * @throws `invalid_argument`
 */
export function parseFilters(texts: readonly string[]): Filter {
  if (texts.length > MAX_FILTERS) throw refused('', `more than ${MAX_FILTERS} filters`);
  const filters = texts.map((text) => new Parser(text).filter());
  return (fields) => filters.length === 0 || filters.some((filter) => filter(fields));
}

function refused(text: string, why: string): DrakkarError {
  return new DrakkarError('invalid_argument', `the filter ${JSON.stringify(text.slice(0, 200))}: ${why}`);
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

class Parser {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    if (text.length > MAX_FILTER_CHARACTERS)
      throw refused(text, `longer than ${MAX_FILTER_CHARACTERS} characters`);
    this.#text = text;
  }

  filter(): Filter {
    this.#skipSpace();
    if (this.#at === this.#text.length) return () => true;
    const selectors = [this.#selector()];
    while (this.#take(',')) selectors.push(this.#selector());
    if (this.#at < this.#text.length) throw this.#unexpected();
    return (fields) => selectors.every((selector) => selector(fields));
  }

  #selector(): Filter {
    const path = [this.#field()];
    while (this.#take('.')) path.push(this.#field());
    if (this.#take('==')) {
      const wanted = this.#value('"\'');
      return (fields) => fields(path) === wanted;
    }
    if (this.#take('!=')) {
      const unwanted = this.#value('"\'');
      return (fields) => (fields(path) ?? '') !== unwanted;
    }
    if (this.#take('~=')) {
      const pattern = this.#pattern(this.#value('"\'/|'));
      return (fields) => pattern.test(fields(path) ?? '');
    }
    return (fields) => fields(path) !== undefined;
  }

  #field(): string {
    this.#skipSpace();
    return this.#quoted('"\'') ?? this.#match(/[A-Za-z_][A-Za-z0-9_]*/y) ?? this.#fail();
  }

  #value(quotes: string): string {
    this.#skipSpace();
    return this.#quoted(quotes) ?? this.#match(/[^\s,]+/y) ?? this.#fail();
  }

  #pattern(source: string): RegExp {
    try {
      return new RegExp(source);
    } catch {
      throw refused(this.#text, 'not a regular expression');
    }
  }

  #quoted(quotes: string): string | undefined {
    const quote = this.#text[this.#at] ?? '';
    if (quote === '' || !quotes.includes(quote)) return undefined;
    this.#at += 1;
    let value = '';
    for (;;) {
      const character = this.#text[this.#at];
      if (character === undefined) throw refused(this.#text, 'a quote does not end');
      this.#at += 1;
      if (character === quote) return value;
      value += character === '\\' ? this.#escaped(quote) : character;
    }
  }

  #escaped(quote: string): string {
    const code = this.#match(/x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}/y);
    if (code !== undefined) {
      const point = /^[xuU]/.test(code) ? Number.parseInt(code.slice(1), 16) : Number.parseInt(code, 8);
      if (point > 0x10ffff) throw refused(this.#text, 'an escape beyond all characters');
      return String.fromCodePoint(point);
    }
    const character = this.#text[this.#at] ?? '';
    this.#at += 1;
    if (character === '\\' || character === quote) return character;
    // A regular expression keeps its own escapes.
    if (quote === '/' || quote === '|') return `\\${character}`;
    const escaped = ESCAPES[character];
    if (escaped === undefined) throw refused(this.#text, 'an escape that there is not');
    return escaped;
  }

  #take(token: string): boolean {
    this.#skipSpace();
    if (!this.#text.startsWith(token, this.#at)) return false;
    this.#at += token.length;
    return true;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const [found] = pattern.exec(this.#text) ?? [];
    this.#at += found?.length ?? 0;
    return found;
  }

  #skipSpace(): void {
    this.#match(/\s*/y);
  }

  #fail(): never {
    throw this.#unexpected();
  }

  #unexpected(): DrakkarError {
    const rest = this.#text.slice(this.#at, this.#at + 20);
    return refused(this.#text, rest === '' ? 'it ends too early' : `unexpected ${JSON.stringify(rest)}`);
  }
}
