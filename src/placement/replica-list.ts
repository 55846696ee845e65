import type { LocalReplica, LocalTserver } from '../keeping/local-replica.ts';
import { TimeLimit } from '../util/time-limit.ts';

const CALL_TIMEOUT_MS = 5000;

/** The replicas of the tablet server beside us, and so who leads, as it said last. */
export class ReplicaList {
  readonly #tserver: Pick<LocalTserver, 'listReplicas'>;
  readonly #onListed: (isNews: boolean) => void;
  #replicas: readonly LocalReplica[] = [];
  #byId: ReadonlyMap<string, LocalReplica> = new Map();
  #asking: Promise<void> | null = null;
  /** There was news since it was asked: it is asked once more behind that. */
  #isOutdated = false;

  /** @param onListed told of each answer, and whether it is another one than before; what it throws, whoever asked is told */
  constructor(tserver: Pick<LocalTserver, 'listReplicas'>, onListed: (isNews: boolean) => void) {
    this.#tserver = tserver;
    this.#onListed = onListed;
  }

  get all(): readonly LocalReplica[] {
    return this.#replicas;
  }

  /** The same, by tablet. */
  get byId(): ReadonlyMap<string, LocalReplica> {
    return this.#byId;
  }

  /** One question at a time: whoever asks meanwhile has its answer. */
  ask(signal: AbortSignal): Promise<void> {
    this.#asking ??= this.#list(signal).finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  /** A log says that a leader was elected: asked at once, and once more where it was being asked before that. Never rejects. */
  async askAnew(signal: AbortSignal): Promise<void> {
    if (this.#isOutdated) return; // seen to for another tablet
    this.#isOutdated = true;
    await this.#asking?.catch(() => undefined);
    this.#isOutdated = false;
    if (!signal.aborted) await this.ask(signal).catch(() => undefined); // told to the next that asks
  }

  async #list(signal: AbortSignal): Promise<void> {
    using limit = new TimeLimit(signal, CALL_TIMEOUT_MS);
    const replicas = await this.#tserver.listReplicas(limit.signal);
    if (signal.aborted) return;
    // Mostly it is the very same list as a second before.
    const isNews = replicas !== this.#replicas;
    if (isNews) this.#byId = new Map(replicas.map((replica) => [replica.tabletId, replica]));
    this.#replicas = replicas;
    this.#onListed(isNews);
  }
}
