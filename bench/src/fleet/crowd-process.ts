import { type ChildProcess, spawn } from 'node:child_process';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { CrowdOrders, CrowdReport } from './crowd-orders.ts';

const CROWD = join(import.meta.dirname, 'crowd.ts');

/** A process full of hosts that are nothing but their links to a supernode. */
export class Crowd implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  /** @param niceness hosts are machines of their own: with 19 they take next to nothing from the supernode here either */
  constructor(orders: CrowdOrders, niceness = 0) {
    this.#process = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', process.execPath, CROWD, JSON.stringify(orders)],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    );
    if (this.#process.pid !== undefined) setPriority(this.#process.pid, niceness);
    if (this.#process.stdout === null) throw new Error('a child without output');
    this.#lines = createInterface(this.#process.stdout)[Symbol.asyncIterator]();
  }

  async next(): Promise<CrowdReport> {
    const line = await this.#lines.next();
    if (line.done === true) throw new Error('a crowd has ended');
    return JSON.parse(line.value) as CrowdReport;
  }

  order(order: string): Promise<CrowdReport> {
    this.#process.stdin?.write(`${order}\n`);
    return this.next();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGKILL');
  }
}
