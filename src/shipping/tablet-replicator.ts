import type { TabletPosition } from '../change/position.ts';
import { ERRORS, SpoorError } from '../errors.ts';
import type { RecordFormat } from '../formats/format.ts';
import { formatOpId, type OpId } from '../kudu/opid.ts';
import { parseSinkId } from '../sinks/sink-id.ts';
import { SinkError, type Sink, type TabletWriter } from '../sinks/sink.ts';
import type { ByteArena } from '../util/byte-arena.ts';
import type { Logger } from '../util/logger.ts';
import { steadyNow } from '../util/steady-clock.ts';
import type { ReplicatorLimits } from './batch-policy.ts';
import type { ChangeRead, ChangeSource } from '../source/change-source.ts';
import { RecordSlices } from './record-slices.ts';
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
import { ReplicatorViewer, faultOf, isResync, secondsSince, type ReplicatorFacts } from './replicator-view.ts';
import { initialSaved, stepSaved, type SavedEvent, type SavedPositions, type WriterWord } from './saved-positions.ts';
import type { Standing, TabletFacts } from '../api/shapes.ts';
import type { ReplicationMetrics, TabletLabels } from '../api/counters.ts';
import type { Wait } from '../util/waits.ts';

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
  /** Whether a schema record of it is in the sink. */
  hasSpoken = false;
  readonly #options: TabletReplicatorOptions;
  readonly #abort = new AbortController();
  readonly #logger: Logger;
  readonly #finish: (ending: Ending) => void;
  readonly #refresh: NodeJS.Timeout;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #underWay = new Set<Promise<void>>();
  readonly #viewer = new ReplicatorViewer();
  #state: ReplicatorState;
  #saved: SavedPositions;
  #flush: { readonly timer: NodeJS.Timeout; readonly atMs: number } | null = null;
  #queue: ChangeRead[] = [];
  #log: ChangeSource | null = null;
  #writer: TabletWriter | null = null;
  /** What an opening of the sink, or a write that has not begun, waits for. */
  #sinkWait: Wait | null = null;
  #labels: TabletLabels;

  constructor(options: TabletReplicatorOptions) {
    this.#options = options;
    this.#state = initialState(options.start);
    this.#labels = { stream: options.stream.name, table: options.start.tableName, tablet: options.tablet.tabletId };
    this.#logger = options.logger.child({ stream: options.stream.name, tabletId: options.tablet.tabletId });
    this.#saved = initialSaved(options.start, options.startSink);
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
    return this.#labels;
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
    return (sink.kind === 'writing' ? queue[sink.count - 1]?.upTo : undefined)?.opId ?? acked.opId;
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
    const throttled = this.#writer?.waits ?? null;
    return {
      state: this.#state,
      source: this.#log,
      kuduNowMs: this.#options.kuduNow(),
      oldestTime: oldest ? (oldest.firstHybridTime ?? oldest.hybridTime) : null,
      sinkWaits: this.#sinkWait ?? throttled,
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
          () => this.#openSink(effect.call),
          (fault) => this.#sinkFailure(effect.call, fault),
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
          () => this.#write(effect.call, this.#queue.slice(0, effect.count)),
          (fault) => this.#sinkFailure(effect.call, fault),
        );
        return;
      case 'drop-queue':
        this.#queue = this.#queue.slice(effect.count);
        return;
      case 'retry-sink-in':
        this.#after(withJitter(effect.ms), { kind: 'sink-retry-due' });
        return;
      case 'retry-log-in':
        this.#after(withJitter(effect.ms), { kind: 'log-retry-due' });
        return;
      case 'flush-in':
        this.#flushIn(effect.ms);
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
        this.#post(asEvent({ kind: 'retry', code: 'SPOOR_INTERNAL', message: messageOf(error) }));
      })
      .finally(() => this.#underWay.delete(running));
    this.#underWay.add(running);
  }

  #after(ms: number, event: ReplicatorEvent): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#post(event);
    }, ms);
    this.#timers.add(timer);
  }

  /** One timer is enough, at the earliest time asked for: whatever is due later is found when it fires. */
  #flushIn(ms: number): void {
    const atMs = performance.now() + ms;
    if (this.#flush && this.#flush.atMs <= atMs) return;
    clearTimeout(this.#flush?.timer);
    const timer = setTimeout(() => {
      this.#flush = null;
      this.#post({ kind: 'flush-due' });
    }, ms);
    this.#flush = { timer, atMs };
  }

  async #openSink(call: number): Promise<void> {
    const { stream, tablet, sink } = this.#options;
    let writer: TabletWriter;
    try {
      await this.#closeWriter();
      writer = await sink.openTablet(
        {
          streamName: stream.name,
          streamGeneration: stream.generation,
          tabletId: tablet.tabletId,
          tableName: this.#saved.durable.tableName,
          onWait: (what) => {
            this.#sinkWait = { for: what, sinceMs: steadyNow() };
          },
          onSaved: (position) => {
            this.#saw({ kind: 'saved', position });
          },
          onFenced: (error) => {
            const { sink: phase } = this.#state;
            if (phase.kind === 'idle' && phase.writer === call) this.#tellFenced(error);
            this.#post({ kind: 'writer-fenced', writer: call });
          },
        },
        this.#abort.signal,
      );
    } catch (error) {
      this.#sinkFailed(call, error);
      return;
    } finally {
      this.#sinkWait = null;
    }
    this.#writer = writer;
    const { position } = writer;
    this.#saw({ kind: 'opened', position, ...wordOf(writer) });
    this.#post({ kind: 'sink-opened', call, position });
  }

  async #closeWriter(): Promise<void> {
    const writer = this.#writer;
    if (!writer) return;
    await writer[Symbol.asyncDispose]();
    this.#writer = null;
  }

  /** One that ended meanwhile opens nothing: nobody would close it. */
  async #openSource(call: number, after: TabletPosition, repairs: boolean): Promise<void> {
    try {
      await this.#closeLog(); // what it still gives belongs to a queue that is no more
      if (!isAwaited(this.#state, call)) return;
      const { schemas, announcesSchemaAt, openSource } = this.#options;
      const isBegin = schemas === 'speaks' && after.opId.index === announcesSchemaAt.index;
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
    if (read.rejectedRows > 0) this.#options.metrics.rowsRejected(this.#labels, read.rejectedRows);
    this.#queue.push(read);
    const { position: upTo, bytes, changes } = read;
    this.#post({ kind: 'log-read', call, upTo, bytes, hasRecords: changes.length > 0 });
  }

  async #write(call: number, reads: readonly ChangeRead[]): Promise<void> {
    const position = reads.at(-1)?.position ?? this.#state.acked;
    const writer = this.#writer;
    if (!writer) throw new TypeError('a write without a writer');
    const shipsSchema = this.#options.schemas !== 'none';
    const { format, arena } = this.#options;
    const records = new RecordSlices(reads, format, arena, shipsSchema);
    try {
      if (format.prepare) await format.prepare([...records.changes()], this.#abort.signal);
      await writer.write(records, position, this.#abort.signal);
    } catch (error) {
      if (records.failure) this.#post({ kind: 'log-lost', fault: this.#logFault(records.failure) });
      this.#sinkFailed(call, error);
      return;
    }
    this.hasSpoken ||= shipsSchema && reads.some(({ changes }) => changes.some(({ kind }) => kind === 'schema'));
    const news = reads.findLast(({ onlyMarkers }) => !onlyMarkers);
    this.#saw({ kind: 'written', position, worthIndex: news?.position.opId.index ?? null, ...wordOf(writer) });
    this.#count(reads, records, position.tableName);
    this.#post({ kind: 'written', call });
  }

  #saw(event: SavedEvent): void {
    const { state, effects } = stepSaved(this.#saved, event);
    this.#saved = state;
    for (const effect of effects) {
      if (effect.kind === 'report') {
        this.#options.onAcked(effect.position, effect.worthIndex, effect.sinkId);
        continue;
      }
      const { marked, sinkId, behind } = effect;
      const fields = { marked, sink: sinkId, opId: formatOpId(behind.opId) };
      if (effect.kind === 'other-store')
        this.#logger.warn(fields, 'the stream was shipped to another sink so far, and goes on here behind that');
      else
        this.#logger.warn(
          { ...fields, topic: parseSinkId(sinkId).topic?.name },
          'the topic was made anew: what the old one had is not in it, and the stream goes on behind that; a resync puts the rows there',
        );
    }
  }

  #count(reads: readonly ChangeRead[], { records, bytes }: RecordSlices, table: string): void {
    const { metrics } = this.#options;
    for (const { completes, position } of reads)
      if (completes && isResync(completes, position.resync)) metrics.resynced(this.#labels);
    this.#labels = { ...this.#labels, table };
    if (records === 0) return;
    const nowMs = this.#options.kuduNow();
    const latencies = reads
      .filter(({ changes }) => changes.some((change) => change.kind !== 'rows' || !change.isCopy))
      .map((read) => secondsSince(read.firstHybridTime ?? read.hybridTime, nowMs));
    metrics.shipped(this.#labels, records, bytes, latencies);
  }

  #sinkFailed(call: number, error: unknown): void {
    if (error instanceof SinkError && error.kind === 'fenced') {
      this.#tellFenced(error);
      this.#post({ kind: 'sink-fenced', call });
      return;
    }
    if (!this.#abort.signal.aborted) this.#options.metrics.sinkError(this.#labels);
    this.#post(this.#sinkFailure(call, sinkFault(error)));
  }

  #tellFenced({ message: reason }: SinkError): void {
    this.#logger.warn({ reason }, 'another sidecar ships this tablet now');
  }

  #sinkFailure(call: number, fault: Fault): ReplicatorEvent {
    return { kind: 'sink-failed', call, fault, takesTurn: this.#log?.takesTurn ?? false };
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
    for (const timer of this.#timers) clearTimeout(timer);
    clearTimeout(this.#flush?.timer);
    clearInterval(this.#refresh);
    this.#abort.abort(new Error(`replicator ended: ${ending}`));
    const release = async (): Promise<void> => {
      const results = await Promise.allSettled([this.#closeLog(), ...this.#underWay]);
      results.push(...(await Promise.allSettled([this.#closeLog(), this.#closeWriter()])));
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

function wordOf({ saved, sinkId = '' }: TabletWriter): WriterWord {
  return { saved, sinkId };
}

/** Between half of `ms` and all of it, so that tablets which failed together do not come back together. */
function withJitter(ms: number): number {
  return ms * (0.5 + Math.random() / 2);
}

function sinkFault(error: unknown): Fault {
  if (error instanceof SinkError && error.kind === 'refused')
    return { kind: 'operator', code: 'SPOOR_SINK_REFUSED', message: error.message };
  return { kind: 'retry', code: 'SPOOR_SINK_UNAVAILABLE', message: messageOf(error) };
}

function logFault(error: unknown): Fault {
  if (!(error instanceof SpoorError)) return { kind: 'retry', code: 'SPOOR_WAL_UNREADABLE', message: messageOf(error) };
  const kind = error.code === 'SPOOR_WAL_GAP' ? 'gap' : ERRORS[error.code].retry === 'operator' ? 'operator' : 'retry';
  return { kind, code: error.code, message: error.message };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
