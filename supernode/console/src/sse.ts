/** One event of a stream of them. */
export interface StreamEvent {
  readonly id: string | null;
  readonly topic: string;
  readonly data: string;
}

/** More than this in one event is none of ours. */
const MAX_CHARACTERS = 8 * 1024 * 1024;

/**
 * Cuts a text stream into events, however it is cut into chunks.
 * Source: the HTML standard, “Parsing an event stream”.
 */
export class EventParser {
  #rest = '';
  #id: string | null = null;
  #topic = '';
  #data: string[] = [];

  push(chunk: string): StreamEvent[] {
    const text = this.#rest + chunk;
    // A CR at the end may be half of a CR LF.
    const whole = text.endsWith('\r') ? text.slice(0, -1) : text;
    const lines = whole.split(/\r\n|\n|\r/);
    this.#rest = (lines.pop() ?? '') + text.slice(whole.length);
    if (this.#rest.length > MAX_CHARACTERS) throw new RangeError('an event is too long');
    return lines.flatMap((line) => this.#line(line));
  }

  #line(line: string): StreamEvent[] {
    if (line === '') return this.#end();
    const [, field = '', value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (field === 'event') this.#topic = value;
    else if (field === 'data') this.#data.push(value);
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    return [];
  }

  #end(): StreamEvent[] {
    const event = {
      id: this.#id,
      topic: this.#topic === '' ? 'message' : this.#topic,
      data: this.#data.join('\n'),
    };
    const isEvent = this.#data.length > 0;
    this.#topic = '';
    this.#data = [];
    return isEvent ? [event] : [];
  }
}

/** How long to wait before the next attempt; by lot, so that not all consoles come back at once. */
export const backOffMs = (failures: number, lot: number): number =>
  Math.min(15_000, 500 * 2 ** Math.min(failures, 10)) * (0.75 + 0.5 * lot);
