import type { TabletPosition } from '../change/position.ts';
import type { SpoorError } from '../errors.ts';
import type { RecordFormat } from '../formats/format.ts';
import { formatOpId, type OpId } from '../kudu/opid.ts';
import type { Sink } from '../sinks/sink.ts';
import type { ByteArena } from '../util/byte-arena.ts';
import type { Logger } from '../util/logger.ts';
import { steadyNow } from '../util/steady-clock.ts';
import type { ReplicatorLimits } from './batch-policy.ts';
import type { ChangeRead, ChangeSource } from '../source/change-source.ts';
import { internalFault, logFault } from './replicator-fault.ts';
import { step, type ReplicatorEffect, type ReplicatorEvent } from './replicator-core.ts';
import {
  gapOf,
  initialState,
  isAwaited,
  sinkWorks,
  works,
  type Ending,
  type Fault,
  type Gap,
  type ReplicatorState,
} from './replicator-state.ts';
import { ReplicatorViewer, faultOf, type ReplicatorFacts } from './replicator-view.ts';
import { ReplicatorTimers } from './replicator-timers.ts';
import { SinkSide } from './sink-side.ts';
import type { Standing, TabletFacts } from '../api/shapes.ts';
import type { ReplicationMetrics, TabletLabels } from '../api/counters.ts';

/**
 * Who ships a table's schema changes: one of its tablets. `takes-over`: it does in the place of one that is no more, and
 * says the schema in force where it begins, since that one may have left out an ALTER.
 */
export type SchemaRole = 'none' | 'speaks' | 'takes-over';

export interface TabletReplicatorOptions {
  readonly stream: { readonly name: string; readonly generation: string };
  readonly tablet: { readonly tableId: string; readonly tabletId: string };
  /** Where the tablet's stream begins, or stands as far as our log tells, when the sink keeps no later position. */
  readonly start: TabletPosition;
  /** Which sink the marker spoke of that `start` is from; empty where it is from none, or that was not known. */
  readonly startSink: string;
  /** The stream's own begin on this tablet: there it says the schema in force, since no record has told it yet. */
  readonly announcesSchemaAt: OpId;
  readonly sink: Sink;
  /**
   * `announceSchema`: begin with the schema in force there, since no record has told it yet.
   * `repairs`: the log does not go on there, and the table is to make up for it.
   */
  readonly openSource: (
    after: TabletPosition,
    options: { readonly announceSchema: boolean; readonly repairs: boolean },
    signal: AbortSignal,
  ) => ChangeSource;
  readonly format: RecordFormat;
  /** Where its records are written; it may be shared. */
  readonly arena: ByteArena;
  readonly schemas: SchemaRole;
  readonly limits: ReplicatorLimits;
  /**
   * Told that the sink has everything up to `position`, and would tell a successor so; the highest operation among it that
   * is no apply marker is `worthIndex`, and `sinkId` says which sink that is.
   */
  readonly onAcked: (position: TabletPosition, worthIndex: bigint, sinkId: string) => void;
  readonly metrics: ReplicationMetrics;
  /** What time it is in Kudu, which stamps the operations; in milliseconds since 1970. */
  readonly kuduNow: () => number;
  readonly logger: Logger;
}

/** How often it looks whether its position has become old. */
const REFRESH_CHECK_MS = 600_000;
/**
 * Ships one tablet of one stream until it is stopped, fenced, or the tablet is gone: carries out what
 * replicator-core.ts decides. Owns its log reader and its sink writer; nothing of it outlives `done`.
 */
export class TabletReplicator {
  /** Resolves, never rejects, when everything is released. */
  readonly done: Promise<Ending>;
  readonly #options: TabletReplicatorOptions;
  readonly #abort = new AbortController();
  readonly #logger: Logger;
  readonly #finish: (ending: Ending) => void;
  readonly #refresh: NodeJS.Timeout;
  readonly #timers = new ReplicatorTimers();
  readonly #sink: SinkSide;
  readonly #underWay = new Set<Promise<void>>();
  readonly #viewer = new ReplicatorViewer();
  #state: ReplicatorState;
  #queue: ChangeRead[] = [];
  #log: ChangeSource | null = null;

  constructor(options: TabletReplicatorOptions) {
    this.#options = options;
    this.#state = initialState(options.start);
    this.#logger = options.logger.child({ stream: options.stream.name, tabletId: options.tablet.tabletId });
    this.#sink = new SinkSide({
      ...options,
      tabletId: options.tablet.tabletId,
      shipsSchema: options.schemas !== 'none',
      post: (event) => {
        this.#post(event);
      },
      onFenced: (call, error) => {
        const { sink } = this.#state;
        if (sink.kind === 'idle' && sink.writer === call) this.#sink.tellFenced(error);
        this.#post({ kind: 'writer-fenced', writer: call });
      },
      notEncodable: (error) => this.#logFault(error),
      takesTurn: () => this.#log?.takesTurn ?? false,
      holdsRoom: () => this.#holdsRoom,
      logger: this.#logger,
      signal: this.#abort.signal,
    });
    let finish!: (ending: Ending) => void;
    this.done = new Promise((resolve) => (finish = resolve));
    this.#finish = finish;
    this.#refresh = setInterval(() => {
      this.#post({ kind: 'refresh-due' });
    }, REFRESH_CHECK_MS);
    this.#post({ kind: 'start' });
  }

  /** Ends after the write in hand; an aborted `hurry` cuts that short too. Resolves with `done`. */
  async stop(hurry?: AbortSignal): Promise<Ending> {
    const cut = (): void => {
      this.#abort.abort(hurry?.reason);
    };
    hurry?.addEventListener('abort', cut, { once: true });
    this.#post({ kind: 'stop' });
    try {
      return await this.done;
    } finally {
      hurry?.removeEventListener('abort', cut);
    }
  }

  get tablet(): { readonly tableId: string; readonly tabletId: string } {
    return this.#options.tablet;
  }

  get tabletId(): string {
    return this.#options.tablet.tabletId;
  }

  /** What its positions are kept under. */
  get generation(): string {
    return this.#options.stream.generation;
  }

  get labels(): TabletLabels {
    return this.#sink.labels;
  }

  /** Whether a schema record of it is in the sink. */
  get hasSpoken(): boolean {
    return this.#sink.hasSpoken;
  }

  /** Whether there may be committed operations that it has not read yet, so that somebody else must say how many. */
  get isBehind(): boolean {
    return this.#queue.length > 0 || faultOf(this.#state) !== null;
  }

  /** Tells it what the tablet server says is committed. */
  noteCommitted(opId: OpId): void {
    this.#viewer.noteCommitted(opId, this.#facts(), steadyNow());
  }

  /** Where its log ends in a gap, and since when by {@link steadyNow}; null where it does not. */
  get gap(): Gap | null {
    return gapOf(this.#state);
  }

  /** Whether the sink takes what it is given, as far as is known: a repair is begun only then. */
  get sinkWorks(): boolean {
    return sinkWorks(this.#state);
  }

  /** Whether it gets on, as far as is known. */
  get works(): boolean {
    return works(this.#state);
  }

  /** What keeps it from it, where that is known. */
  get fault(): Fault | null {
    return faultOf(this.#state)?.fault ?? null;
  }

  /** The log from its place on was let go: what is queued still goes out, then it stays at the gap. */
  logLost(error: SpoorError): void {
    this.#post({ kind: 'log-lost', fault: this.#logFault(error) });
  }

  /** What was missing after a gap may be there now. */
  logFilled(): void {
    this.#post({ kind: 'log-filled' });
  }

  /** Nobody has what is missing: the table is to make up for it. */
  repair(): void {
    this.#post({ kind: 'log-repair' });
  }

  /** What the sink has; its OpId is the apply OpId. */
  get acked(): TabletPosition {
    return this.#state.acked;
  }

  /** The highest operation that the sink has, or is being given. */
  get sent(): OpId {
    const { sink, queue, acked } = this.#state;
    return (sink.kind === 'writing' ? queue.at(sink.count - 1)?.upTo : undefined)?.opId ?? acked.opId;
  }

  /** The highest operation that it has read from the log. */
  get read(): OpId {
    return this.#state.read.opId;
  }

  /** What it does now, but for what only the tablet manager knows. @param nowMs by {@link steadyNow} */
  view(nowMs: number): Omit<TabletFacts, 'sidecar' | 'role' | 'hold'> & Standing {
    const { stream, tablet } = this.#options;
    const of = { stream: stream.name, generation: this.generation, tabletId: tablet.tabletId };
    return { ...of, ...this.#viewer.view(this.#facts(), nowMs) };
  }

  #facts(): ReplicatorFacts {
    const oldest = this.#queue[0];
    return {
      state: this.#state,
      source: this.#log,
      kuduNowMs: this.#options.kuduNow(),
      oldestTime: oldest ? (oldest.firstHybridTime ?? oldest.hybridTime) : null,
      sinkWaits: this.#sink.waits,
    };
  }

  /** What the core itself stumbles over leaves a state that nobody knows: this tablet ends, and is begun anew. */
  #post(event: ReplicatorEvent): void {
    try {
      const before = faultOf(this.#state);
      const { acked } = this.#state;
      const { state, effects } = step(this.#state, event, steadyNow(), this.#options.limits);
      this.#state = state;
      this.#viewer.noteStep(acked, this.#facts(), steadyNow());
      this.#tell(before, faultOf(state));
      for (const effect of effects) this.#perform(effect);
    } catch (error) {
      this.#logger.error({ err: error }, 'unexpected error, shipping the tablet anew');
      if (this.#state.ended) return;
      this.#state = { ...this.#state, ending: 'broken', ended: true };
      this.#end('broken');
    }
  }

  /** A failure is logged once, when it begins or changes its nature; and its end too. */
  #tell(before: { fault: Fault } | null, after: { fault: Fault } | null): void {
    if (after && after.fault.code !== before?.fault.code) {
      const { code, message, kind } = after.fault;
      this.#logger.error(
        { code, reason: message, opId: formatOpId(this.#state.acked.opId) },
        `tablet ${kind === 'gap' ? 'has a gap' : 'is blocked'}`,
      );
    } else if (before && !after && !this.#state.ended)
      this.#logger.info({ opId: formatOpId(this.#state.acked.opId) }, 'tablet goes on');
  }

  #perform(effect: ReplicatorEffect): void {
    switch (effect.kind) {
      case 'open-sink':
        this.#run(
          () => this.#sink.open(effect.call),
          (fault) => this.#sink.failure(effect.call, fault),
        );
        return;
      case 'open-log':
        this.#run(
          () => this.#openSource(effect.call, effect.after, effect.repairs),
          (fault) => ({ kind: 'log-failed', call: effect.call, fault }),
        );
        return;
      case 'close-log':
        this.#run(
          () => this.#closeLog(),
          (fault) => ({ kind: 'log-lost', fault }),
        );
        return;
      case 'read-log':
        this.#run(
          () => this.#readLog(effect.call),
          (fault) => ({ kind: 'log-failed', call: effect.call, fault }),
        );
        return;
      case 'write':
        this.#run(
          () => this.#sink.write(effect.call, this.#queue.slice(0, effect.count), this.#state.acked),
          (fault) => this.#sink.failure(effect.call, fault),
        );
        return;
      case 'drop-queue':
        this.#queue = this.#queue.slice(effect.count);
        return;
      case 'retry-sink-in':
        this.#timers.after(effect.ms, () => {
          this.#post({ kind: 'sink-retry-due' });
        });
        return;
      case 'retry-log-in':
        this.#timers.after(effect.ms, () => {
          this.#post({ kind: 'log-retry-due' });
        });
        return;
      case 'flush-in':
        this.#timers.flushIn(effect.ms, () => {
          this.#post({ kind: 'flush-due' });
        });
        return;
      case 'end':
        this.#end(effect.ending);
    }
  }

  /** What nobody expected to fail is a fault of this tablet like any other, and of no other tablet. */
  #run(work: () => Promise<void>, asEvent: (fault: Fault) => ReplicatorEvent): void {
    const running: Promise<void> = work()
      .catch((error: unknown) => {
        this.#logger.error({ err: error }, 'unexpected error');
        this.#post(asEvent(internalFault(error)));
      })
      .finally(() => this.#underWay.delete(running));
    this.#underWay.add(running);
  }

  /** One that ended meanwhile opens nothing: nobody would close it. */
  async #openSource(call: number, after: TabletPosition, repairs: boolean): Promise<void> {
    try {
      await this.#closeLog(); // what it still gives belongs to a queue that is no more
      if (!isAwaited(this.#state, call)) return;
      const { schemas, announcesSchemaAt, openSource } = this.#options;
      const { opId, upTo } = after;
      const isBegin = schemas === 'speaks' && opId.index === announcesSchemaAt.index && upTo === undefined;
      const announceSchema = isBegin || (schemas === 'takes-over' && !this.hasSpoken);
      this.#log = openSource(after, { announceSchema, repairs }, this.#abort.signal);
    } catch (error) {
      this.#post({ kind: 'log-failed', call, fault: this.#logFault(error) });
      return;
    }
    this.#logger.info({ after: formatOpId(after.opId), ...(repairs && { repairs }) }, 'reading the log');
    this.#post({ kind: 'log-opened', call });
  }

  async #closeLog(): Promise<void> {
    const log = this.#log;
    this.#log = null;
    await log?.[Symbol.asyncDispose]();
  }

  async #readLog(call: number): Promise<void> {
    let read: Awaited<ReturnType<ChangeSource['next']>>;
    try {
      if (!this.#log) throw new TypeError('a read without a log');
      read = await this.#log.next();
    } catch (error) {
      this.#post({ kind: 'log-failed', call, fault: this.#logFault(error) });
      return;
    }
    // Opened anew meanwhile, or given up: the core does not count it, so it must not be queued either.
    if (!isAwaited(this.#state, call)) return;
    if (read.kind === 'gone') {
      this.#post({ kind: 'log-gone', call });
      return;
    }
    if (read.rejectedRows > 0) this.#options.metrics.rowsRejected(this.labels, read.rejectedRows);
    this.#queue.push(read);
    const { position: upTo, bytes, changes } = read;
    const [hasRecords, holdsRoom] = [changes.length > 0, this.#holdsRoom];
    this.#post({ kind: 'log-read', call, upTo, bytes, hasRecords, holdsRoom });
  }

  get #holdsRoom(): boolean {
    return this.#log?.holdsRoom ?? false;
  }

  #logFault(error: unknown): Fault {
    const fault = logFault(error);
    const { time } = this.#state.read;
    const since =
      fault.kind === 'gap' && time !== undefined ? `; what is missing is later than hybrid time ${time}` : '';
    return { ...fault, message: fault.message + since };
  }

  /** Whatever fails of it, everything else is released, and it is over. */
  #end(ending: Ending): void {
    this.#timers.clear();
    clearInterval(this.#refresh);
    this.#abort.abort(new Error(`replicator ended: ${ending}`));
    const release = async (): Promise<void> => {
      const results = await Promise.allSettled([this.#closeLog(), ...this.#underWay]);
      results.push(...(await Promise.allSettled([this.#closeLog(), this.#sink.close()])));
      for (const result of results)
        if (result.status === 'rejected') this.#logger.error({ err: result.reason as unknown }, 'unexpected error');
      this.#logger.info({ ending, opId: formatOpId(this.#state.acked.opId) }, 'stopped shipping');
    };
    const finish = (): void => {
      this.#finish(ending);
    };
    release().then(finish, finish);
  }
}
