import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Digest } from '@drakkar/protocol';
import type { Ground } from '../fleet/ground.ts';
import type { Place } from '../fleet/network.ts';

/** A host of a comparison: a network namespace behind a link of its own, in which nothing runs. */
export interface Host {
  readonly index: number;
  readonly place: Place;
}

/** Where a contender shows what it can. All of it but what the contender begins is there before and stays. */
export interface Site {
  readonly hosts: readonly Host[];
  /** Speaks plain HTTP, and asks nobody who he is. */
  readonly registry: { readonly host: string; readonly url: string };
  /** Its namespace: what else the registry shall do runs there, behind the same link. */
  readonly registryPlace: Place;
  /** The registry's own storage, as docker-registry lays it out. */
  readonly registryStorage: string;
  /** Empty, on a disk, and gone when the contender is. */
  readonly directory: string;
  readonly ground: Ground;
  /** One more machine, with a link as those of the hosts. */
  addMachine(): Promise<Place>;
}

/** An image that nobody has seen. */
export interface ComparedImage {
  /** `HOST/REPOSITORY:TAG` */
  readonly reference: string;
  readonly repository: string;
  readonly layers: readonly { readonly digest: Digest; readonly sizeBytes: number }[];
  /** Of all layers, as they travel. */
  readonly sizeBytes: number;
}

/**
 * What a user may pick to bring images to hosts. A module that exports one by default takes part in `npm run bench -- compare --contender PATH`.
 *
 * @example
 * const curl: Contender = {
 *   name: 'curl',
 *   async prepare({ registry, directory }) {
 *     return {
 *       async fetch({ index, place }, { repository, layers }) {
 *         for (const { digest } of layers) {
 *           const url = `${registry.url}/v2/${repository}/blobs/${digest}`;
 *           await run(...place.within('curl', ['-fsS', '-o', `${directory}/${index}-${digest}`, url]));
 *         }
 *       },
 *       async [Symbol.asyncDispose]() {},
 *     };
 *   },
 * };
 * export default curl;
 */
export interface Contender {
  /** As plots call it. */
  readonly name: string;
  /**
   * Begins whatever it needs, on every host and beside them. Returns when hosts may fetch.
   *
   * @throws {@link Unavailable} where it can't be had on this machine: then the others go on without it
   */
  prepare(site: Site): Promise<Prepared>;
}

/** A contender whose parts run; disposing it ends them all, and takes away what they have left outside of the site's directory. */
export interface Prepared extends AsyncDisposable {
  /** Returns when the host has every byte of all layers, and has made sure that they are the right ones. Is called for many hosts at the same time. */
  fetch(host: Host, image: ComparedImage): Promise<void>;
  /**
   * From nothing: fetches what it must of an image that the host has not, and runs a container of it with no network and the image's own command.
   *
   * @returns milliseconds from the call to its first output
   */
  start?(host: Host, image: ComparedImage): Promise<number>;
}

/** Why a contender can't be had here. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable';
}

/** @param path of a module @throws where it exports no contender by default */
export async function loadContender(path: string): Promise<Contender> {
  const module: { readonly default?: unknown } = await import(pathToFileURL(resolve(path)).href);
  const found = module.default;
  if (!isContender(found)) throw new Error(`${path} exports no contender by default: a name and \`prepare\``);
  return found;
}

function isContender(found: unknown): found is Contender {
  if (typeof found !== 'object' || found === null) return false;
  const { name, prepare } = found as Partial<Record<keyof Contender, unknown>>;
  return typeof name === 'string' && name !== '' && typeof prepare === 'function';
}
