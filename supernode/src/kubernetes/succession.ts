import type { StateStore } from '../state/index.ts';

const HOLDER = 'kubernetes/holder';

/** Who of those that have led with this state holds the Lease: nobody changes the state but the one that leads. */
export class Succession {
  readonly #state: StateStore;
  readonly #identity: string;

  constructor(state: StateStore, identity: string) {
    this.#state = state;
    this.#identity = identity;
  }

  /** This one does. @throws `unavailable` */
  async hold(): Promise<void> {
    await this.#state.commit([{ key: HOLDER, value: this.#identity }]);
  }

  /** Whether that one has held it before this one, which does from now on. @throws `unavailable` where another one leads */
  async succeeds(holder: string): Promise<boolean> {
    const known = await this.#state.get(HOLDER);
    if (known?.value !== holder) return false;
    const change = { key: HOLDER, value: this.#identity, expects: known.revision };
    return (await this.#state.commit([change])) !== undefined;
  }
}
