/** One way of authenticating that a `WWW-Authenticate` header offers. */
export interface Challenge {
  /** In lower case: `bearer`, `basic`. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

const TOKEN = /[A-Za-z0-9!#$%&'*+.^_`|~-]+/y;
const PARAMETER =
  /\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([A-Za-z0-9!#$%&'*+.^_`|~:/?@-]*))/y;
const SEPARATORS = /[\s,]*/y;
const MAX_HEADER_CHARACTERS = 8 * 1024;

/**
 * The challenges of a header, in their order. What cannot be understood ends the list: it is never an error, since the
 * answer to a strange challenge is the same as to none.
 * Source: RFC 9110, 11.6.1.
 */
export function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  if (header.length > MAX_HEADER_CHARACTERS) return challenges;
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(header) ?? undefined;
    if (found !== undefined) at += found[0].length;
    return found;
  };
  for (;;) {
    match(SEPARATORS);
    const scheme = match(TOKEN);
    if (scheme === undefined) return challenges;
    const parameters = new Map<string, string>();
    for (;;) {
      const before = at;
      match(SEPARATORS);
      const parameter = match(PARAMETER);
      if (parameter === undefined) {
        at = before;
        break;
      }
      const [, name = '', quoted, plain = ''] = parameter;
      parameters.set(name.toLowerCase(), quoted === undefined ? plain : quoted.replace(/\\(.)/g, '$1'));
    }
    challenges.push({ scheme: scheme[0].toLowerCase(), parameters });
  }
}

/** The challenge that we would rather answer: a bearer realm, else basic. */
export function preferredChallenge(header: string): Challenge | undefined {
  const challenges = parseChallenges(header);
  return (
    challenges.find(({ scheme, parameters }) => scheme === 'bearer' && parameters.has('realm')) ??
    challenges.find(({ scheme }) => scheme === 'basic')
  );
}
