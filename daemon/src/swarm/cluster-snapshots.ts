import { create, toBinary } from '@bufbuild/protobuf';
import {
  type DeviceRange,
  type Digest,
  decodeTrace,
  digestFromRaw,
  digestOf,
  encodeTrace,
  type FoundMessage,
  formatRepository,
  parseRepository,
  type Repository,
  rawOf,
  SnapshotMessageSchema,
  type Trace,
  type Voucher,
} from '@drakkar/protocol';
import type { Start } from '@drakkar/service';
import { MEMBER_MESSAGE_BYTES } from '@drakkar/wire';
import { Progress } from '../progress.ts';
import type { Standing } from './standing.ts';
import type { SnapshotsSaid } from './supernode-messages.ts';
import type { Supernodes } from './supernodes.ts';

/** A snapshot with all that a host needs of it but its meta blob. */
export interface ClusterSnapshot {
  readonly repository: Repository;
  readonly platform: string;
  /** What a tag means, then whatever leads from there to the image manifest, which is the last one. */
  readonly documents: readonly Uint8Array[];
  readonly imageConfig: Uint8Array;
  readonly artifact: Uint8Array;
  readonly envelope: Uint8Array;
  /** The piece tables of the meta and of each device. */
  readonly tables: readonly Uint8Array[];
  /** The registry has its blobs, too. */
  readonly pushed: boolean;
}

/** What the cluster knows of an image's snapshot. Nothing of it is verified but the voucher. */
export interface FoundSnapshot {
  readonly snapshot: ClusterSnapshot;
  /** The cluster's word for who built it. */
  readonly voucher: Voucher | undefined;
  /** What starts read, in that order. */
  readonly learned: readonly DeviceRange[];
}

export interface ClusterQuestion {
  readonly repository: Repository;
  readonly platform: string;
  /** What a tag means: an index, or the manifest. */
  readonly root: Digest;
}

/** A start does not wait longer for what the cluster knows. */
const PATIENCE_MS = 300;
/** Beside the snapshot a message has a few bytes. */
const MAX_ANNOUNCED_BYTES = MEMBER_MESSAGE_BYTES - 64;

/** A supernode that has been away for longer is not waited for. */
const LONG_AWAY_MS = 2_000;

type Link = Pick<Supernodes, 'knowsSnapshots' | 'isUp' | 'downMs' | 'snapshots'>;

/** What the supernode knows of snapshots. Where it is away, or silent, it knows nothing. */
export class ClusterSnapshots {
  readonly #standing: Pick<Standing, 'voucher'>;
  readonly #changed = new Progress();
  readonly #answers = new Map<number, FoundMessage | undefined>();
  #link: Link | undefined;
  #lastNumber = 0;
  #whenUp: () => void = () => {};

  constructor(standing: Pick<Standing, 'voucher'>) {
    this.#standing = standing;
  }

  begin(link: Link): void {
    this.#link = link;
  }

  /** Calls back whenever there is a supernode anew that may not know what this host has. */
  onUp(whenUp: () => void): void {
    this.#whenUp = whenUp;
    this.linkChanged();
  }

  linkChanged(): void {
    this.#changed.step();
    if (this.#link?.knowsSnapshots === true) this.#whenUp();
  }

  found(answer: FoundMessage): void {
    // Who asked has gone on without an answer that comes late.
    if (!this.#answers.has(answer.number)) return;
    this.#answers.set(answer.number, answer);
    this.#changed.step();
  }

  /** @throws `unauthorized` for a voucher that does not hold; `invalid_argument` | `invalid_content`; `cancelled` */
  async find(
    question: ClusterQuestion,
    startKey: Digest,
    signal: AbortSignal,
  ): Promise<FoundSnapshot | undefined> {
    const answer = await this.#ask(question.root, signal, (number) => ({
      case: 'find',
      value: { ...encodeQuestion(question), number, startKey: rawOf(startKey), brief: false },
    }));
    if (answer?.snapshot === undefined) return undefined;
    const { snapshot, voucher, learned } = answer;
    return {
      snapshot: { ...snapshot, repository: parseRepository(snapshot.repository) },
      voucher: voucher === '' ? undefined : this.#standing.voucher(voucher),
      learned: decodeTrace(learned),
    };
  }

  /** Raw digest of the meta of the one that the cluster knows; `null` where it knows none, `undefined` where nobody says. @throws `cancelled` */
  async layoutOf(question: ClusterQuestion, signal: AbortSignal): Promise<Digest | null | undefined> {
    const answer = await this.#ask(question.root, signal, (number) => ({
      case: 'find',
      value: { ...encodeQuestion(question), number, brief: true },
    }));
    if (answer === undefined) return undefined;
    return answer.known ? digestFromRaw(answer.layout) : null;
  }

  /** @returns false for one that is too large to be told */
  announce({ repository, documents, tables, ...rest }: ClusterSnapshot): boolean {
    const snapshot = create(SnapshotMessageSchema, {
      ...rest,
      repository: formatRepository(repository),
      documents: [...documents],
      tables: [...tables],
    });
    if (toBinary(SnapshotMessageSchema, snapshot).length > MAX_ANNOUNCED_BYTES) return false;
    const [root] = documents;
    if (root !== undefined) this.#link?.snapshots(digestOf(root), { case: 'announce', value: { snapshot } });
    return true;
  }

  /** One that was found can't be had. */
  lost(repository: Repository, manifest: Digest): void {
    const value = { repository: formatRepository(repository), manifest: rawOf(manifest) };
    this.#link?.snapshots(manifest, { case: 'lost', value });
  }

  /** What starts of a snapshot read; nothing where nobody says. @throws `invalid_content`; `cancelled` */
  async learned({ layout, startKey }: Start, signal: AbortSignal): Promise<DeviceRange[]> {
    const answer = await this.#ask(layout, signal, (number) => ({
      case: 'learn',
      value: { number, layout: rawOf(layout), startKey: rawOf(startKey) },
    }));
    return answer === undefined ? [] : decodeTrace(answer.learned);
  }

  reportTrace({ layout, startKey }: Start, trace: Trace): void {
    const value = { layout: rawOf(layout), startKey: rawOf(startKey), ranges: encodeTrace(trace) };
    this.#link?.snapshots(layout, { case: 'reportTrace', value });
  }

  async #ask(
    key: Digest,
    signal: AbortSignal,
    question: (number: number) => SnapshotsSaid,
  ): Promise<FoundMessage | undefined> {
    const number = this.#nextNumber();
    const untilMs = performance.now() + PATIENCE_MS;
    let asked: { readonly isUp: boolean } | undefined;
    this.#answers.set(number, undefined);
    try {
      for (;;) {
        const answer = this.#answers.get(number);
        const leftMs = untilMs - performance.now();
        if (answer !== undefined || leftMs <= 0 || this.#isVain(asked)) return answer;
        // Of one that has gone there will be no answer.
        if (asked?.isUp !== true) asked = this.#link?.snapshots(key, question(number)) ?? asked;
        await this.#changed.nextWithin(leftMs, signal);
      }
    } finally {
      this.#answers.delete(number);
    }
  }

  /** Whether there will be no answer: of a supernode that comes up within the time there may be one. */
  #isVain(asked: { readonly isUp: boolean } | undefined): boolean {
    const link = this.#link;
    if (link === undefined) return true;
    if (link.isUp) return !link.knowsSnapshots;
    return asked !== undefined || link.downMs >= LONG_AWAY_MS;
  }

  #nextNumber(): number {
    this.#lastNumber = (this.#lastNumber + 1) % 2 ** 32;
    return this.#lastNumber;
  }
}

function encodeQuestion({ repository, platform, root }: ClusterQuestion) {
  return { repository: formatRepository(repository), platform, root: rawOf(root) };
}
