const RETRY_AFTER_S = 5;

/** The API’s answer to a sender that is to come again: 429, with the time. */
export function tooMuch(message: string): Error {
  return Object.assign(new Error(message), { statusCode: 429, retryAfterSeconds: RETRY_AFTER_S });
}

export const isTooMuch = (error: unknown): error is Error =>
  error instanceof Error && (error as { statusCode?: number }).statusCode === 429;
