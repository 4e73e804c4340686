import { DrakkarError, formatHostPort } from '@drakkar/protocol';
import type { Redis } from 'ioredis';

/** What Redis answers who has no password, or a wrong one. */
const PASSWORD = /^(WRONGPASS|NOAUTH|ERR invalid password|ERR (Client sent )?AUTH)/i;

/** Says why Redis can't be asked. A command's own error tells no more than that its connection is closed: why it is, the connection knows. */
export class RedisAway {
  #place = 'the place that state.redis names';
  #last: Error | undefined;

  watch(connection: Redis): void {
    const { path, host = 'localhost', port = 6379 } = connection.options;
    this.#place = path ?? formatHostPort({ host, port });
    connection.on('error', (error: Error) => {
      this.#last = error;
    });
    connection.on('ready', () => {
      this.#last = undefined;
    });
  }

  error(cause: unknown): DrakkarError {
    const refusal = [cause, this.#last].find(isReply);
    if (refusal === undefined) {
      const { code } = (this.#last ?? cause) as NodeJS.ErrnoException;
      const why = code === undefined ? '' : ` (${code})`;
      return new DrakkarError('unavailable', `Redis does not answer at ${this.#place}${why}`, {
        hint: 'see whether Redis answers where `state.redis` says; hosts go on meanwhile',
        cause,
      });
    }
    // What was sent is part of such an error, and so is the password: it goes no further.
    if (PASSWORD.test(refusal.message)) {
      return new DrakkarError('unavailable', `Redis refuses the password at ${this.#place}`, {
        hint: 'correct the user and the password in the URL that `state.redis` has; hosts go on meanwhile',
      });
    }
    return new DrakkarError('unavailable', `Redis refuses at ${this.#place}: ${refusal.message}`, {
      hint: 'see what its log says; hosts go on meanwhile',
    });
  }
}

const isReply = (error: unknown): error is Error => error instanceof Error && error.name === 'ReplyError';
