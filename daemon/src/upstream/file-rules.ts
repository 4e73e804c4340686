import { isIP } from 'node:net';
import { DrakkarError, isOrigin } from '@drakkar/protocol';
import { bareHostname, isPrivateAddress, listed, matchesGlob } from './hosts.ts';
import { otherScheme, type RedirectGuard } from './transport.ts';

/** Which files may be fetched. */
export interface FileRules {
  /** `scheme://host[:port][/path]`; `*` is any run of characters, and in a host none but the host's. */
  readonly allow: readonly string[];
  /** Hosts on private networks (`host` or `host:port`, globs) from which files may be fetched. */
  readonly allowPrivate: readonly string[];
}

export const FILE_RULES: FileRules = { allow: ['https://*'], allowPrivate: [] };

interface UrlPattern {
  readonly scheme: string;
  readonly host: string;
  readonly path: string;
}

const PATTERN = /^(https?|\*):\/\/([^/?#@\s]+)(\/[^?#\s]*)?$/;
const MAX_URL_CHARACTERS = 8192;
const EVERY_PATH = '/*';
/** What a server may take for `/`, `\` or an end, so that the path it serves is another than the one that was compared. */
const AMBIGUOUS = /%(2f|5c|00)/i;

/** `undefined` for what is no pattern. A pattern without a path has every path. */
export function parseUrlPattern(text: string): UrlPattern | undefined {
  const [, scheme, host, path = EVERY_PATH] = PATTERN.exec(text) ?? [];
  return scheme === undefined || host === undefined ? undefined : { scheme, host, path };
}

/** Scheme, host and path are compared each by itself, so that no path passes for a host. */
export function matchesUrl(pattern: string, url: URL): boolean {
  const parsed = parseUrlPattern(pattern);
  if (parsed === undefined) return false;
  const { scheme, host, path } = parsed;
  return (
    matchesGlob(scheme, url.protocol.slice(0, -1)) &&
    matchesGlob(host, url.host) &&
    matchesGlob(path, url.pathname, 'exact') &&
    (path === EVERY_PATH || !AMBIGUOUS.test(url.pathname))
  );
}

/**
 * The URL of a file that may be asked for, without its fragment. What is written as a number is an address like any other.
 * @throws `invalid_argument` for what is no URL of a file; `forbidden` for one that the rules do not let through
 */
export function parseFileUrl(text: string, rules: FileRules): URL {
  const url = URL.canParse(text) && text.length <= MAX_URL_CHARACTERS ? new URL(text) : undefined;
  if (url === undefined || !isHttp(url)) {
    const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
    throw new DrakkarError('invalid_argument', `${JSON.stringify(shown)} is not the URL of a file`, {
      hint: 'write it as https://host/path',
    });
  }
  requireNobody(url);
  if (!isOrigin(url.origin)) {
    throw new DrakkarError(
      'invalid_argument',
      'the host of the URL is too long: 255 characters are allowed',
      {
        hint: 'check the URL',
      },
    );
  }
  url.hash = '';
  requireAllowed(url, rules);
  return url;
}

/** Each hop of a redirect is judged as the first URL is; from https to http leads none. */
export function fileGuard(rules: FileRules): RedirectGuard {
  return {
    setting: 'files.allowPrivate',
    follow(from, to) {
      if (!isHttp(to) || (from.protocol === 'https:' && to.protocol === 'http:')) throw otherScheme(from, to);
      requireNobody(to);
      requireAllowed(to, rules, from);
      return mustBePublic(to, rules);
    },
  };
}

/** Whether a connection for this URL must refuse private addresses. */
export function mustBePublic(url: URL, rules: FileRules): boolean {
  return !listed(rules.allowPrivate, url.host);
}

function requireAllowed(url: URL, rules: FileRules, from?: URL): void {
  const what = withoutQuery(url);
  const refused =
    from === undefined ? `${what} is refused` : `${from.host} redirected to ${what}, which is refused`;
  if (!rules.allow.some((pattern) => matchesUrl(pattern, url))) {
    throw new DrakkarError('forbidden', `${refused}: it is not on the allowlist`, {
      hint: `add ${url.origin} to files.allow in the daemon’s configuration`,
    });
  }
  const host = bareHostname(url);
  if (isIP(host) !== 0 && isPrivateAddress(host) && mustBePublic(url, rules)) {
    throw new DrakkarError('forbidden', `${refused}: it is a private address`, {
      hint: `add ${url.host} to files.allowPrivate in the daemon’s configuration if that is meant`,
    });
  }
}

/** A URL that names a user. */
function requireNobody(url: URL): void {
  if (url.username === '' && url.password === '') return;
  throw new DrakkarError('invalid_argument', `the URL of a file on ${url.host} names a user or a password`, {
    hint: 'only files that the server gives to everybody can be fetched; leave out what stands before the @',
  });
}

function isHttp(url: URL): boolean {
  return url.protocol === 'https:' || url.protocol === 'http:';
}

/** As it may stand in messages and lists: the query may be a signature. */
export function withoutQuery({ origin, pathname }: URL): string {
  return `${origin}${pathname}`;
}
