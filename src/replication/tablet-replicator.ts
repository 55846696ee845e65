import type { Change } from '../change/change.ts';
import { sliceRows } from '../change/slice-rows.ts';
import type { SinkRecord } from '../change/record.ts';
import { ERRORS, SpoorError } from '../errors.ts';
import type { HybridTime } from '../kudu/hybrid-time.ts';
import { hybridTimeToMicros } from '../kudu/hybrid-time.ts';
import { MIN_OPID, formatOpId } from '../kudu/opid.ts';
import type { OpId } from '../kudu/opid.ts';
import type { Sink, TabletWriter } from '../sinks/sink.ts';
import { compareSinkIds, latestSinkId, parseSinkId } from '../sinks/sink-id.ts';
import { isAhead, type CopyProgress, type SinkPosition } from '../change/position.ts';
import { SinkError } from '../sinks/sink.ts';
import type { Logger } from '../util/logger.ts';
import type { Slots } from '../util/slots.ts';
import type { Ending, Fault, ReplicatorEffect, ReplicatorEvent, ReplicatorLimits } from './replicator-core.ts';
import { initialState, step } from './replicator-core.ts';
import type { ReplicationMetrics, TabletLabels, TabletView } from './views.ts';

/** Some committed operations of a tablet in order, or some rows of a copy of it. */
export interface ChangeRead {
  readonly kind: 'changes';
  /** What they changed; empty for a NO_OP or a write of which no row was applied. */
  readonly changes: readonly Change[];
  /** Where it ends: what a reader who starts behind it must know. */
  readonly position: SinkPosition;
  /** Of the last operation; of a copy, the time that it shows. */
  readonly hybridTime: HybridTime;
  /** Of the first operation, where that is another one: how long the oldest of them waits. */
  readonly firstHybridTime?: HybridTime;
  /** Rows that Kudu rejected or ignored. */
  readonly rejectedRows: number;
  /** Size in the log, or in the answer of the scan, and what it takes beside that. */
  readonly bytes: number;
  /** Whether there is nothing in it but writes without rows: apply markers, ours or another's. */
  readonly onlyMarkers: boolean;
  /** With it a copy is whole: that position is the first that owes none. */
  readonly completes?: CopyProgress;
  /** It ends at an operation that may be the cut of a copy. */
  readonly cut?: { readonly opId: OpId; readonly time: HybridTime };
}

/** The changes of one tablet from a position on: its log, or a copy of its rows and then the log. */
export interface ChangeSource extends AsyncDisposable {
  /** The highest operation known to be committed, shipped or not. */
  readonly committed: OpId;
  /** How many rows a copy that is under way has in all; null while that is not known. */
  readonly copyRows?: number | null;
  /** Resolves as soon as there is something; rejects with {@link SpoorError} when it cannot go on. */
  next(): Promise<ChangeRead | { readonly kind: 'gone' }>;
}

/**
 * Who ships a table's schema changes: one of its tablets. `takes-over`: it does in the place of one that is no more, and
 * says the schema in force where it begins, since that one may have left out an ALTER.
 */
export type SchemaRole = 'none' | 'speaks' | 'takes-over';

export interface TabletReplicatorOptions {
  readonly stream: { readonly name: string; readonly generation: string };
  readonly tablet: { readonly tableId: string; readonly tabletId: string };
  /** Where the tablet's stream begins, or stands as far as our log tells, when the sink keeps no later position. */
  readonly start: SinkPosition;
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
    after: SinkPosition,
    options: { readonly announceSchema: boolean; readonly repairs: boolean },
    signal: AbortSignal,
  ) => ChangeSource;
  readonly encode: (change: Change) => readonly SinkRecord[];
  readonly schemas: SchemaRole;
  readonly limits: ReplicatorLimits;
  /**
   * The sink has everything up to `position`, and would tell a successor so; the highest operation among it that is no
   * apply marker is `worthIndex`, and `sink` says which sink that is.
   */
  readonly onAcked: (position: SinkPosition, worthIndex: bigint, sink: string) => void;
  /** Bounds how many tablets write at a time, and so the memory of what is in flight. */
  readonly writeSlots: Slots;
  readonly metrics: ReplicationMetrics;
  readonly logger: Logger;
}

/** How many rows are encoded at a time: enough for a good batch, few enough to keep memory flat. */
const ROWS_PER_SLICE = 2000;
/** How often it looks whether its position has become old. */
const REFRESH_CHECK_MS = 600_000;
/** Running, and yet the position has not moved for so long while there is something to ship. */
const STALLED_AFTER_MS = 30_000;

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
  #state;
  #flush: { readonly timer: NodeJS.Timeout; readonly atMs: number } | null = null;
  #queue: ChangeRead[] = [];
  #log: ChangeSource | null = null;
  #writer: TabletWriter | null = null;
  #noted: OpId = MIN_OPID;
  /** What was written and is not yet reported as saved, each with the highest index in it that is no marker's. */
  #written: { readonly position: SinkPosition; readonly worth: bigint }[] = [];
  #reported: SinkPosition | null = null;
  /** What is known of the sink that has all up to here, see sink-id.ts. */
  #sinkId: string;
  /** Since when there is something to ship, and the position has not moved; null while there is nothing. */
  #standsSinceMs: number | null = null;
  /** What the sink has for sure. */
  #durable: SinkPosition;
  #labels: TabletLabels;
  /** Of the copy that is under way: where it stood when this replicator came to it. */
  #copyBegan: { readonly cut: bigint; readonly rows: number; readonly atMs: number } | null = null;

  constructor(options: TabletReplicatorOptions) {
    this.#options = options;
    this.#state = initialState(options.start);
    this.#durable = options.start;
    this.#sinkId = options.startSink;
    this.#labels = { stream: options.stream.name, table: options.start.tableName, tablet: options.tablet.tabletId };
    this.#logger = options.logger.child({ stream: options.stream.name, tabletId: options.tablet.tabletId });
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
    return this.#queue.length > 0 || this.#currentFault() !== null;
  }

  /** Tells it what the tablet server says is committed. */
  noteCommitted(opId: OpId): void {
    this.#noted = opId;
    this.#noteProgress(this.#state.acked);
  }

  /**
   * What another sink has, or the topic that was here before, is not sent again: whoever wants it here makes a new stream,
   * or a resync. To be called before what was just written counts as durable.
   */
  #noteSink({ sinkId = '' }: TabletWriter): void {
    const marked = this.#sinkId;
    this.#sinkId = latestSinkId(marked, sinkId);
    const relation = compareSinkIds(marked, sinkId);
    const fields = { marked, sink: sinkId, opId: formatOpId(this.#durable.opId) };
    if (relation === 'other-store')
      this.#logger.warn(fields, 'the stream was shipped to another sink so far, and goes on here behind that');
    if (relation === 'topic-made-anew')
      this.#logger.warn(
        { ...fields, topic: parseSinkId(sinkId).topic?.name },
        'the topic was made anew: what the old one had is not in it, and the stream goes on behind that; a resync puts the rows there',
      );
  }

  /** Tells the keeper how far a successor would go on by the sink's own word; to be called now and then. */
  reportSaved(): void {
    const writer = this.#writer;
    if (!writer) return;
    const saved = writer.saved === undefined ? this.#durable : writer.saved;
    const known = saved && this.#written.findLast(({ position }) => !isAhead(position, saved));
    if (!known) return;
    this.#written = this.#written.filter(({ position }) => isAhead(position, saved));
    this.#report(saved, known.worth);
  }

  #report(saved: SinkPosition, worth: bigint): void {
    if (!isAhead(saved, this.#reported)) return;
    this.#reported = saved;
    this.#options.onAcked(saved, worth, this.#sinkId);
  }

  /** Where its log ends in a gap, or null where it does not. */
  get gapAfter(): OpId | null {
    const { log, read } = this.#state;
    return log.kind === 'failed' && log.fault.kind === 'gap' ? read.opId : null;
  }

  /** Since when, in milliseconds since the epoch. */
  get gapSinceMs(): number | null {
    const { log } = this.#state;
    return log.kind === 'failed' && log.fault.kind === 'gap' ? log.sinceMs : null;
  }

  /** Whether the sink takes what it is given, as far as is known: a repair is begun only then. */
  get sinkWorks(): boolean {
    const { sink, sinkFault } = this.#state;
    return sinkFault === null && (sink.kind === 'idle' || sink.kind === 'writing');
  }

  /** Whether it gets on, as far as is known; one that stands at a gap does, since that is seen to where it is. */
  get works(): boolean {
    const { log } = this.#state;
    const isReading = log.kind === 'open' || log.kind === 'gone' || this.gapAfter !== null;
    return isReading && this.sinkWorks;
  }

  /** What keeps it from it, where that is known. */
  get fault(): Fault | null {
    return this.#currentFault()?.fault ?? null;
  }

  /** The log from its place on was let go: what is queued still goes out, then it stays at the gap. */
  logLost(error: SpoorError): void {
    this.#logFailed(error);
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
  get acked(): SinkPosition {
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

  /** What it does now, but for what only the peer manager knows. */
  view(nowMs: number): Omit<TabletView, 'sidecar' | 'role' | 'hold'> {
    const { acked } = this.#state;
    const committed = this.#committed();
    const fault = this.#currentFault();
    return {
      stream: this.#options.stream.name,
      generation: this.generation,
      tabletId: this.#options.tablet.tabletId,
      table: acked.tableName,
      state: this.#stateName(nowMs),
      applyOpId: formatOpId(acked.opId),
      committedOpId: formatOpId(committed),
      lagOps: Number(committed.index - acked.opId.index),
      lagSeconds: this.#lagSeconds(nowMs),
      ...this.#copyView(nowMs),
      ...(acked.corrected !== undefined && { corrected: acked.corrected }),
      ...(fault && {
        error: { code: fault.fault.code, message: fault.fault.message, since: new Date(fault.sinceMs).toISOString() },
      }),
    };
  }

  /** The highest operation that is known to be committed, by the log or by the server. */
  #committed(): OpId {
    const { opId } = this.#state.read;
    return highest([opId, this.#noted, this.#log?.committed ?? opId]);
  }

  /** Age of the oldest operation that is not shipped; where it was not read yet, of the last that is: no less. */
  #lagSeconds(nowMs: number): number | null {
    const { acked } = this.#state;
    const oldest = this.#queue[0];
    if (oldest) return secondsSince(oldest.firstHybridTime ?? oldest.hybridTime, nowMs);
    if (this.#committed().index <= acked.opId.index) return 0;
    return acked.time === undefined ? null : secondsSince(acked.time, nowMs);
  }

  #copyView(nowMs: number): Pick<TabletView, 'copy'> {
    const { copy } = this.#state.acked;
    if (copy === undefined || copy === 'wanted') return {};
    const { rows, at, since } = copy;
    const total = this.#log?.copyRows ?? null;
    const began = this.#copyBegan;
    const perSecond = began && nowMs > began.atMs ? ((rows - began.rows) * 1000) / (nowMs - began.atMs) : 0;
    return {
      copy: {
        kind: since === undefined ? 'all' : 'changes',
        hybridTime: at.toString(),
        rows,
        totalRows: total,
        percent: total === null ? null : total === 0 ? 100 : Math.min(100, (100 * rows) / total),
        secondsLeft: total === null || perSecond === 0 ? null : Math.max(0, (total - rows) / perSecond),
      },
    };
  }

  #noteProgress(ackedBefore: SinkPosition): void {
    const { acked } = this.#state;
    const { copy } = acked;
    if (copy !== undefined && copy !== 'wanted' && this.#copyBegan?.cut !== copy.cut)
      this.#copyBegan = { cut: copy.cut, rows: copy.rows, atMs: Date.now() };
    if (acked.opId.index >= this.#committed().index) this.#standsSinceMs = null;
    else if (isAhead(acked, ackedBefore)) this.#standsSinceMs = Date.now();
    else this.#standsSinceMs ??= Date.now();
  }

  #stateName(nowMs: number): TabletView['state'] {
    const fault = this.#currentFault();
    if (fault) return fault.fault.kind === 'gap' ? 'gap' : 'blocked';
    const { sink, log, lastWriteAtMs, acked, read } = this.#state;
    if (sink.kind === 'opening' || log.kind === 'unopened') return 'starting';
    const isWriting = sink.kind === 'writing' && nowMs - lastWriteAtMs > STALLED_AFTER_MS;
    const stands = this.#standsSinceMs !== null && nowMs - this.#standsSinceMs > STALLED_AFTER_MS;
    if (isWriting || stands) return 'stalled';
    const { copy, resync } = read.copy === undefined ? acked : read;
    if (copy === undefined) return 'running';
    return copy !== 'wanted' && isResync(copy, resync) ? 'resync' : 'base-copy';
  }

  #currentFault(): { fault: Fault; sinceMs: number } | null {
    const { log, sinkFault } = this.#state;
    if (log.kind === 'failed' || log.kind === 'waiting') return log;
    return sinkFault;
  }

  #post(event: ReplicatorEvent): void {
    const before = this.#currentFault();
    const { acked } = this.#state;
    const { state, effects } = step(this.#state, event, Date.now(), this.#options.limits);
    this.#state = state;
    this.#noteProgress(acked);
    this.#tell(before, this.#currentFault());
    for (const effect of effects) this.#perform(effect);
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
        this.#run(() => this.#openSink());
        return;
      case 'open-log':
        this.#run(() => this.#openSource(effect.after, effect.repairs));
        return;
      case 'close-log':
        this.#run(() => this.#closeLog());
        return;
      case 'read-log':
        this.#run(() => this.#readLog());
        return;
      case 'write':
        this.#run(() => this.#write(this.#queue.slice(0, effect.count)));
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
        void this.#end(effect.ending);
    }
  }

  #run(work: () => Promise<void>): void {
    const running: Promise<void> = work().finally(() => this.#underWay.delete(running));
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

  async #openSink(): Promise<void> {
    const { stream, tablet, sink } = this.#options;
    try {
      await this.#writer?.[Symbol.asyncDispose]();
      this.reportSaved();
      this.#writer = null;
      const writer = await sink.openTablet(
        {
          streamName: stream.name,
          streamGeneration: stream.generation,
          tabletId: tablet.tabletId,
          tableName: this.#durable.tableName,
        },
        this.#abort.signal,
      );
      this.#writer = writer;
      if (writer.position && isAhead(writer.position, this.#durable)) this.#durable = writer.position;
      this.#noteSink(writer);
      // Found, and perhaps known to no marker: whoever shipped before may have died before it wrote one.
      const found = writer.saved === undefined ? writer.position : writer.saved;
      if (found) this.#report(found, found.opId.index);
      this.#post({ kind: 'sink-opened', position: writer.position });
    } catch (error) {
      this.#sinkFailed(error);
    }
  }

  async #openSource(after: SinkPosition, repairs: boolean): Promise<void> {
    try {
      const old = this.#log;
      this.#log = null; // what it still gives belongs to a queue that is no more
      await old?.[Symbol.asyncDispose]();
      const { schemas, announcesSchemaAt, openSource } = this.#options;
      const isBegin = schemas === 'speaks' && after.opId.index === announcesSchemaAt.index;
      const announceSchema = isBegin || (schemas === 'takes-over' && !this.hasSpoken);
      this.#log = openSource(after, { announceSchema, repairs }, this.#abort.signal);
      this.#logger.info({ after: formatOpId(after.opId), ...(repairs && { repairs }) }, 'reading the log');
      this.#post({ kind: 'log-opened' });
    } catch (error) {
      this.#logFailed(error);
    }
  }

  async #closeLog(): Promise<void> {
    const log = this.#log;
    this.#log = null;
    await log?.[Symbol.asyncDispose]();
  }

  async #readLog(): Promise<void> {
    const log = this.#log;
    if (!log) return;
    try {
      const read = await log.next();
      // Opened anew meanwhile, or given up: the core does not count it, so it must not be queued either.
      if (log !== this.#log || this.#state.log.kind !== 'open') return;
      if (read.kind === 'gone') {
        this.#post({ kind: 'log-gone' });
        return;
      }
      if (read.rejectedRows > 0) this.#options.metrics.rowsRejected(this.#labels, read.rejectedRows);
      this.#queue.push(read);
      const { position: upTo, bytes, changes } = read;
      this.#post({ kind: 'log-read', upTo, bytes, hasRecords: changes.length > 0 });
    } catch (error) {
      if (log === this.#log) this.#logFailed(error);
    }
  }

  async #write(reads: readonly ChangeRead[]): Promise<void> {
    const position = reads.at(-1)?.position ?? this.#state.acked;
    const writer = this.#writer;
    if (!writer) throw new TypeError('a write without a writer');
    const shipsSchema = this.#options.schemas !== 'none';
    const slices = new RecordSlices(reads, this.#options.encode, shipsSchema);
    try {
      const giveBack = await this.#options.writeSlots.acquire(this.#abort.signal);
      try {
        await writer.write(slices, position, this.#abort.signal);
      } finally {
        giveBack();
      }
    } catch (error) {
      if (slices.failure) this.#logFailed(slices.failure);
      this.#sinkFailed(error);
      return;
    }
    const nowMs = Date.now();
    this.#noteSink(writer);
    this.#durable = position;
    this.hasSpoken ||= shipsSchema && reads.some(({ changes }) => changes.some(({ kind }) => kind === 'schema'));
    const news = reads.findLast(({ onlyMarkers }) => !onlyMarkers);
    this.#written.push({ position, worth: news?.position.opId.index ?? this.#written.at(-1)?.worth ?? 0n });
    this.reportSaved();
    for (const {
      completes,
      position: { resync },
    } of reads)
      if (completes && isResync(completes, resync)) this.#options.metrics.resynced(this.#labels);
    this.#labels = { ...this.#labels, table: position.tableName };
    const latencies = reads
      .filter(({ changes }) => changes.some((change) => change.kind !== 'rows' || !change.isCopy))
      .map((read) => secondsSince(read.firstHybridTime ?? read.hybridTime, nowMs));
    if (slices.records > 0) this.#options.metrics.shipped(this.#labels, slices.records, slices.bytes, latencies);
    this.#post({ kind: 'written' });
  }

  #sinkFailed(error: unknown): void {
    if (error instanceof SinkError && error.kind === 'fenced') {
      this.#logger.warn({ reason: error.message }, 'another sidecar ships this tablet now');
      this.#post({ kind: 'sink-fenced' });
      return;
    }
    if (!this.#abort.signal.aborted) this.#options.metrics.sinkError(this.#labels);
    this.#post({ kind: 'sink-failed', fault: sinkFault(error) });
  }

  #logFailed(error: unknown): void {
    const fault = logFault(error);
    const { time } = this.#state.read;
    const since =
      fault.kind === 'gap' && time !== undefined ? `; what is missing is later than hybrid time ${time}` : '';
    this.#post({ kind: 'log-failed', fault: { ...fault, message: fault.message + since } });
  }

  async #end(ending: Ending): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    clearTimeout(this.#flush?.timer);
    clearInterval(this.#refresh);
    this.#abort.abort(new Error(`replicator ended: ${ending}`));
    const log = this.#log;
    this.#log = null;
    await Promise.allSettled([log?.[Symbol.asyncDispose](), ...this.#underWay]);
    await Promise.allSettled([this.#writer?.[Symbol.asyncDispose]()]);
    this.reportSaved(); // a last position may have been saved with that
    this.#logger.info({ ending, opId: formatOpId(this.#state.acked.opId) }, 'stopped shipping');
    this.#finish(ending);
  }
}

/** Encodes what is queued slice by slice, as the sink takes them, and counts. */
class RecordSlices implements Iterable<readonly SinkRecord[]> {
  records = 0;
  bytes = 0;
  /** An encoder that cannot go on: the log's fault, not the sink's. */
  failure: Error | null = null;
  readonly #reads: readonly ChangeRead[];
  readonly #encode: (change: Change) => readonly SinkRecord[];
  readonly #shipsSchema: boolean;

  constructor(reads: readonly ChangeRead[], encode: (change: Change) => readonly SinkRecord[], shipsSchema: boolean) {
    this.#reads = reads;
    this.#encode = encode;
    this.#shipsSchema = shipsSchema;
  }

  *[Symbol.iterator](): Iterator<readonly SinkRecord[]> {
    let slice: SinkRecord[] = [];
    for (const { changes } of this.#reads)
      for (const change of changes) {
        if (change.kind === 'schema' && !this.#shipsSchema) continue;
        for (const part of partsOf(change)) {
          for (const record of this.#encodeOrFail(part)) slice.push(record);
          if (slice.length < ROWS_PER_SLICE) continue;
          yield this.#counted(slice);
          slice = [];
        }
      }
    if (slice.length > 0) yield this.#counted(slice);
  }

  #encodeOrFail(change: Change): readonly SinkRecord[] {
    try {
      return this.#encode(change);
    } catch (error) {
      this.failure = error instanceof Error ? error : new Error(String(error));
      throw error;
    }
  }

  #counted(slice: readonly SinkRecord[]): readonly SinkRecord[] {
    this.records += slice.length;
    for (const { key, value } of slice) this.bytes += key.length + (value?.length ?? 0);
    return slice;
  }
}

function* partsOf(change: Change): Iterable<Change> {
  if (change.kind !== 'rows' || change.rowCount <= ROWS_PER_SLICE) yield change;
  else
    for (let from = 0; from < change.rowCount; from += ROWS_PER_SLICE)
      yield sliceRows(change, from, from + ROWS_PER_SLICE);
}

/** Any copy but a tablet's first. */
function isResync({ since }: CopyProgress, resync: string | undefined): boolean {
  return since !== undefined || resync !== undefined;
}

/** Committed operations of one tablet are ordered by their index alone. */
function highest(opIds: readonly OpId[]): OpId {
  return opIds.reduce((max, opId) => (opId.index > max.index ? opId : max));
}

function secondsSince(time: HybridTime, nowMs: number): number {
  return Math.max(0, nowMs / 1000 - Number(hybridTimeToMicros(time)) / 1e6);
}

/** Between half of `ms` and all of it, so that tablets which failed together do not come back together. */
function withJitter(ms: number): number {
  return ms * (0.5 + Math.random() / 2);
}

function sinkFault(error: unknown): Fault {
  const code = error instanceof SinkError && error.kind === 'refused' ? 'SPOOR_SINK_REFUSED' : 'SPOOR_SINK_UNAVAILABLE';
  return { kind: 'retry', code, message: messageOf(error) };
}

function logFault(error: unknown): Fault {
  if (!(error instanceof SpoorError)) return { kind: 'retry', code: 'SPOOR_WAL_UNREADABLE', message: messageOf(error) };
  const kind = error.code === 'SPOOR_WAL_GAP' ? 'gap' : ERRORS[error.code].retry === 'operator' ? 'operator' : 'retry';
  return { kind, code: error.code, message: error.message };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
