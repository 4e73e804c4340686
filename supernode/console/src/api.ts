import type { Issue } from './documents.ts';
import { refuse, token } from './session.ts';

const BASE = 'api/v1';
const TIMEOUT_MS = 20_000;

/** What went wrong, and what to do about it. */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly status: number;
  readonly hint: string | null;
  /** What of the request is wrong, where that was said. */
  readonly issues: readonly Issue[];

  /** @param status of the answer; 0 where there was none */
  constructor(status: number, message: string, hint: string | null = null, issues: readonly Issue[] = []) {
    super(message);
    this.status = status;
    this.hint = hint;
    this.issues = issues;
  }
}

export interface CallOptions {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

/** @throws {Problem} and nothing else, but for an abort of the signal */
export async function call<Answer>(path: string, options: CallOptions = {}): Promise<Answer> {
  const { method = 'GET', body, signal } = options;
  const deadline = AbortSignal.timeout(TIMEOUT_MS);
  const used = token.value;
  let answer: Response;
  try {
    answer = await fetch(`${BASE}${path}`, {
      method,
      headers: {
        ...authorization(used),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
      cache: 'no-store',
      credentials: 'omit',
    });
    if (answer.status === 401) refuse(used);
    if (answer.ok) return (answer.status === 204 ? undefined : await answer.json()) as Answer;
  } catch (cause) {
    if (signal?.aborted === true) throw cause;
    throw new Problem(0, 'The supernode does not answer.', 'The console tries again by itself.');
  }
  throw await problemOf(answer);
}

export const authorization = (used: string | null): Record<string, string> =>
  used === null ? {} : { authorization: `Bearer ${used}` };

async function problemOf(answer: Response): Promise<Problem> {
  try {
    const { detail, hint, issues } = (await answer.json()) as {
      detail?: unknown;
      hint?: unknown;
      issues?: readonly Issue[];
    };
    const message = typeof detail === 'string' ? detail : answer.statusText;
    return new Problem(answer.status, message, typeof hint === 'string' ? hint : null, issues);
  } catch {
    return new Problem(answer.status, `The supernode answered ${answer.status}.`);
  }
}

/** What of a query is empty is left out. */
export function withQuery(
  path: string,
  query: Readonly<Record<string, string | number | undefined | null>>,
): string {
  const given = Object.entries(query).flatMap(([name, value]) =>
    value === undefined || value === null || value === '' ? [] : [[name, String(value)]],
  );
  return given.length === 0 ? path : `${path}?${new URLSearchParams(given)}`;
}
