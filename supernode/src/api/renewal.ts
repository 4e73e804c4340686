import type { Server } from 'node:https';
import type { Logger } from 'pino';
import type { ServerCertificate } from './certificate.ts';

export interface RenewalModules {
  readonly server: Pick<Server, 'setSecureContext'>;
  /** The certificate as it is to be now. @throws what is wrong with it */
  read(): Promise<ServerCertificate>;
  /** Told of each certificate that is shown in the place of another. */
  onChange(certificate: ServerCertificate): void;
  readonly log: Logger;
}

/** Looks now and then whether there is another certificate, and shows that to whoever connects then. One that is no good is logged once, and the last good one shown on. */
export class CertificateRenewal implements Disposable {
  readonly #modules: RenewalModules;
  readonly #timer: NodeJS.Timeout;
  #shown: ServerCertificate;
  #isLooking = false;
  #trouble: string | undefined;

  constructor(shown: ServerCertificate, everyMs: number, modules: RenewalModules) {
    this.#shown = shown;
    this.#modules = modules;
    this.#timer = setInterval(() => void this.#look(), everyMs);
    this.#timer.unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  /** Never rejects. */
  async #look(): Promise<void> {
    if (this.#isLooking) return;
    this.#isLooking = true;
    const { log } = this.#modules;
    try {
      const found = await this.#modules.read();
      if (found.cert !== this.#shown.cert || found.key !== this.#shown.key) this.#show(found);
      else if (this.#trouble !== undefined) log.info('the API’s certificate can be read again');
      this.#trouble = undefined;
    } catch (error) {
      const trouble = String(error);
      if (trouble !== this.#trouble)
        log.error({ error }, 'the API’s new certificate can’t be used: the one before is shown');
      this.#trouble = trouble;
    } finally {
      this.#isLooking = false;
    }
  }

  #show(certificate: ServerCertificate): void {
    const { server, log, onChange } = this.#modules;
    server.setSecureContext(certificate);
    this.#shown = certificate;
    log.info({ pin: certificate.pin }, 'the API shows another certificate');
    onChange(certificate);
  }
}
