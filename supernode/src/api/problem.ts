import { DrakkarError, ERROR_CODES, type ErrorCode, toDrakkarError } from '@drakkar/protocol';
import { HTTP_STATUS } from '@drakkar/service';
import type { FastifyError } from 'fastify';
import { hasZodFastifySchemaValidationErrors } from 'fastify-type-provider-zod';
import { z } from 'zod';

/** What is said of what went wrong. Source: RFC 9457. */
export const problemSchema = z
  .object({
    type: z.literal('about:blank'),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.enum(ERROR_CODES as [ErrorCode, ...ErrorCode[]]).describe('Stable: for programs.'),
    hint: z.string().optional().describe('What a person can do about it.'),
    issues: z
      .array(z.object({ path: z.string(), message: z.string() }))
      .optional()
      .describe('What of the request is wrong.'),
    traceId: z.string().optional().describe('What lines of the supernode’s log about it have, too.'),
  })
  .meta({ id: 'Problem' });
export type Problem = z.output<typeof problemSchema>;

export const PROBLEM_TYPE = 'application/problem+json';

const TITLES: Readonly<Record<number, string>> = {
  400: 'The request is not valid',
  401: 'Who calls is not known',
  403: 'Not allowed',
  404: 'Not found',
  409: 'Not in this state',
  413: 'Too large',
  414: 'Too long',
  415: 'Not JSON',
  422: 'A limit would be passed',
  429: 'Too many requests',
  503: 'Not at the moment',
};

export function problemOf(cause: unknown): Problem {
  if (hasZodFastifySchemaValidationErrors(cause)) {
    const issues = cause.validation.map(({ instancePath, message = '' }) => ({
      path: `${cause.validationContext ?? ''}${instancePath}`,
      message,
    }));
    const detail = issues
      .map(({ path, message }) => `${path}: ${message}`)
      .join('; ')
      .slice(0, 1000);
    return { ...problem(400, 'invalid_argument', detail), issues: issues.slice(0, 20) };
  }
  const status = (cause as Partial<FastifyError> | null)?.statusCode;
  // Of the framework: what it could not read, or had too much of.
  if (!(cause instanceof DrakkarError) && status !== undefined && status >= 400 && status < 500) {
    const code = status === 413 || status === 429 ? 'limit_exceeded' : 'invalid_argument';
    return problem(status, code, (cause as Error).message);
  }
  const { code, message, hint } = toDrakkarError(cause);
  // What a defect says of itself is for the log.
  const detail = code === 'internal' ? 'the supernode could not do it; its log says why' : message;
  const answer = problem(HTTP_STATUS[code], code, detail);
  return hint === undefined ? answer : { ...answer, hint };
}

function problem(status: number, code: ErrorCode, detail: string): Problem {
  return { type: 'about:blank', title: TITLES[status] ?? 'It failed', status, detail, code };
}
