import type { OpId } from '../../src/kudu/opid.ts';
import type { ReplicatorLimits } from '../../src/shipping/batch-policy.ts';
import type { ReplicatorEffect, ReplicatorEvent } from '../../src/shipping/replicator-core.ts';
import {
  gapOf,
  initialState,
  isAwaited,
  works,
  type Ending,
  type Fault,
  type Gap,
  type ReplicatorState,
} from '../../src/shipping/replicator-state.ts';
import { initialSaved, stepSaved, type SavedEvent, type SavedPositions } from '../../src/shipping/saved-positions.ts';
import type { TabletPosition } from '../../src/change/position.ts';
import type { AckedTrail } from '../../src/sinks/kafka/acked-trail.ts';
import type { Process, SimStream, World } from './process.ts';
import type { SinkAnswer } from './sink.ts';
import type { Entry, Replica } from './tablet.ts';

const LIMITS: ReplicatorLimits = {
  maxBatchBytes: 300,
  maxQueuedBytes: 600,
  minWriteIntervalMs: 20,
  maxWriteIntervalMs: 200,
  positionIntervalMs: 500,
  positionRefreshMs: 60_000,
  retry: { baseMs: 100, capMs: 1000 },
};
const BYTES_PER_OP = 60;
/** Of so many operations one is large: its log holds room that others may wait for. */
const LARGE_EACH = 5;
const MAX_OPS_PER_READ = 3;
const POSITION_EVERY_MS = 1000;
const AWAY: Fault = { code: 'SPOOR_SINK_UNAVAILABLE', message: 'away', kind: 'retry' };
const UNREADABLE: Fault = { code: 'SPOOR_WAL_UNREADABLE', message: 'not now', kind: 'retry' };
const GAP: Fault = { code: 'SPOOR_WAL_GAP', message: 'gone', kind: 'gap' };

interface Read {
  readonly ops: readonly Entry[];
  readonly upTo: OpId;
}

/** What the sink has once a write is durable, and the highest operation in it that is no apply marker. */
interface Written {
  readonly position: TabletPosition;
  readonly worthIndex: bigint | null;
}

interface Writer {
  readonly epoch: number;
  /** The opening that it is from. */
  readonly opened: number;
  /** The write in hand. */
  call: number;
  /** Another writer came: the next write is told. */
  isFenced: boolean;
  /** Durable, and not yet said in the sink. */
  unsaid: TabletPosition | null;
  /** See TabletWriter.saved. */
  saved: TabletPosition | null | undefined;
  failed: boolean;
}

export interface ShipperOptions {
  readonly world: World;
  readonly process: Process;
  readonly replica: Replica;
  readonly stream: SimStream;
  readonly start: TabletPosition;
  /** Of the at-least-once writers of the process. */
  readonly trail: AckedTrail;
  readonly onAcked: (position: TabletPosition, worthIndex: bigint) => void;
  readonly onDone: (ending: Ending) => void;
}

/** Carries out what replicator-core.ts decides, as tablet-replicator.ts does, in a simulated world. */
export class Shipper {
  readonly stream: SimStream;
  state: ReplicatorState;
  readonly #options: ShipperOptions;
  #queue: Read[] = [];
  #log: { at: number; holdsRoom: boolean } | null = null;
  #writer: Writer | null = null;
  #flushAtMs = Number.POSITIVE_INFINITY;
  #saved: SavedPositions;

  constructor(options: ShipperOptions) {
    this.#options = options;
    this.stream = options.stream;
    this.state = initialState(options.start);
    this.#saved = initialSaved(options.start, '');
    this.#post({ kind: 'start' });
  }

  get gap(): Gap | null {
    return gapOf(this.state);
  }

  get works(): boolean {
    return works(this.state);
  }

  stop(): void {
    this.#post({ kind: 'stop' });
  }

  logFilled(): void {
    this.#post({ kind: 'log-filled' });
  }

  #post(event: ReplicatorEvent): void {
    const { world, process } = this.#options;
    const { state, effects } = world.rules.step(this.state, event, world.nowMs, LIMITS);
    this.state = state;
    for (const effect of effects) {
      world.mayBeKilled(process);
      this.#perform(effect);
    }
  }

  #perform(effect: ReplicatorEffect): void {
    const { process } = this.#options;
    switch (effect.kind) {
      case 'open-sink':
        this.#openSink(effect.call);
        return;
      case 'open-log':
        this.#closeLog();
        this.#later('open-log', () => {
          this.#openLog(effect.call, Number(effect.after.opId.index));
        });
        this.#mayLoseLog();
        return;
      case 'close-log':
        this.#closeLog();
        return;
      case 'read-log':
        this.#readLog(effect.call);
        return;
      case 'write':
        this.#write(effect.call, this.#queue.slice(0, effect.count));
        return;
      case 'drop-queue':
        this.#queue = this.#queue.slice(effect.count);
        return;
      case 'retry-sink-in':
        this.#later(
          'sink-retry-due',
          () => {
            this.#post({ kind: 'sink-retry-due' });
          },
          { afterMs: effect.ms },
        );
        return;
      case 'retry-log-in':
        this.#later(
          'log-retry-due',
          () => {
            this.#post({ kind: 'log-retry-due' });
          },
          { afterMs: effect.ms },
        );
        return;
      case 'flush-in':
        this.#flushIn(effect.ms);
        return;
      case 'end':
        this.#log = null;
        this.#dispose(() => {
          process.later(`${this.#label} done`, () => {
            this.#options.onDone(effect.ending);
          });
        });
    }
  }

  get #label(): string {
    return `ship ${this.stream.generation}`;
  }

  #later(label: string, run: () => void, more: { afterMs?: number; isReady?: () => boolean } = {}): void {
    this.#options.process.later(
      `${this.#label} ${label}`,
      () => {
        if (!this.state.ended) run();
      },
      more,
    );
  }

  #flushIn(ms: number): void {
    const atMs = this.#options.world.nowMs + ms;
    if (this.#flushAtMs <= atMs) return;
    this.#flushAtMs = atMs;
    this.#later(
      'flush-due',
      () => {
        if (this.#flushAtMs !== atMs) return; // an earlier one came instead
        this.#flushAtMs = Number.POSITIVE_INFINITY;
        this.#post({ kind: 'flush-due' });
      },
      { afterMs: ms },
    );
  }

  #openSink(call: number): void {
    const { process, stream, trail, world } = this.#options;
    this.#dispose(() => {
      process.call(`${this.#label} open-sink`, () => stream.sink.open(), {
        opens: true,
        lost: () => {
          this.#sinkFailed(call);
        },
        answered: (opened) => {
          if (this.state.ended) return;
          if (opened === 'unavailable') {
            this.#sinkFailed(call);
            return;
          }
          const { epoch } = opened;
          const isAtLeastOnce = stream.sink.delivery === 'at-least-once';
          trail.opened({ producerId: 0n, epoch });
          const unsaid = isAtLeastOnce ? trail.beyond(opened.position, { producerId: 0n, epoch }) : null;
          const position = unsaid ?? opened.position;
          const saved = isAtLeastOnce ? opened.position : undefined;
          this.#writer = { epoch, call: 0, opened: call, isFenced: false, unsaid, saved, failed: false };
          world.invariants.opened(stream.sink, epoch, Number(position?.opId.index ?? 0n));
          if (world.rules.reportsFound) this.#saw({ kind: 'opened', position, saved, sinkId: '' });
          this.#post({ kind: 'sink-opened', call, position });
        },
      });
    });
  }

  /** Ends what the writer left open, or says its last position; then goes on, whatever came of it. */
  #dispose(then: () => void): void {
    const { process, stream } = this.#options;
    const writer = this.#writer;
    this.#writer = null;
    if (!writer) {
      then();
      return;
    }
    const { epoch, unsaid } = writer;
    const isExact = stream.sink.delivery === 'exactly-once';
    if (!isExact && (unsaid === null || writer.failed || stream.sink.delivery === 'no-position')) {
      then();
      return;
    }
    process.call(
      `${this.#label} dispose`,
      () => {
        if (isExact) stream.sink.abort(epoch);
        else if (unsaid) stream.sink.savePosition(epoch, unsaid);
      },
      { answered: then, lost: then },
    );
  }

  /** It takes a while, and what it gives meanwhile is for nobody. */
  #closeLog(): void {
    if (!this.#options.world.rules.readsClosingLogs) this.#log = null;
  }

  #openLog(call: number, after: number): void {
    if (this.#options.world.fate() === 'lost') {
      this.#post({ kind: 'log-failed', call, fault: UNREADABLE });
      return;
    }
    this.#log = { at: after, holdsRoom: false };
    this.#post({ kind: 'log-opened', call });
  }

  /** A bounded hold lets go at any moment, while the log is being opened too; soon the log is there again. */
  #mayLoseLog(): void {
    const { world } = this.#options;
    if (!world.random.chance(world.lostLogs)) return;
    this.#later('log-lost', () => {
      this.#post({ kind: 'log-lost', fault: GAP });
      this.#later('log-filled', () => {
        this.#post({ kind: 'log-filled' });
      });
    });
  }

  #readLog(call: number): void {
    const { world, replica } = this.#options;
    const log = this.#log;
    if (!log) return;
    const isReady = (): boolean => log !== this.#log || !replica.running || this.#next(log.at + 1) !== null;
    this.#later(
      'read-log',
      () => {
        if (log !== this.#log) return; // opened anew meanwhile
        if (!isAwaited(this.state, call) && !world.rules.readsClosingLogs) return;
        const ops: Entry[] = [];
        for (const most = world.random.between(1, MAX_OPS_PER_READ); ops.length < most;) {
          const next = this.#next(log.at + ops.length + 1);
          if (next === null || next === 'missing') break;
          ops.push(next);
        }
        const last = ops.at(-1);
        if (last) {
          log.at = last.index;
          this.#queue.push({ ops, upTo: last.opId });
          const hasRecords = ops.some(({ rows }) => rows > 0);
          const upTo = { ...this.#options.start, opId: last.opId };
          log.holdsRoom = ops.some(({ index }) => index % LARGE_EACH === 0);
          const { holdsRoom } = log;
          this.#post({ kind: 'log-read', call, upTo, bytes: ops.length * BYTES_PER_OP, hasRecords, holdsRoom });
        } else if (!replica.running) this.#post({ kind: 'log-gone', call });
        else this.#post({ kind: 'log-failed', call, fault: GAP });
      },
      { isReady },
    );
  }

  /** The next committed operation, in the held log and the tablet server's own read as one; null while there is none. */
  #next(index: number): Entry | 'missing' | null {
    const { replica, world } = this.#options;
    const found = replica.hold.find(index, replica);
    if (found === 'ahead') return null;
    if (found === 'missing') return replica.running ? 'missing' : null;
    return found.committed || world.rules.readsUncommitted ? found.entry : null;
  }

  #write(call: number, reads: readonly Read[]): void {
    const { stream, start, world } = this.#options;
    const writer = this.#writer;
    if (!writer) throw new TypeError('a write without a writer');
    writer.call = call;
    const position: TabletPosition = { ...start, opId: reads.at(-1)?.upTo ?? this.state.acked.opId };
    const written = { position, worthIndex: this.#worthOf(reads) };
    if (world.rules.reportsWhenSent) this.#options.onAcked(position, written.worthIndex ?? 0n);
    if (world.random.chance(world.encodingFailures)) {
      this.#post({ kind: 'log-lost', fault: UNREADABLE });
      this.#failed(writer, 'unavailable');
      return;
    }
    if (writer.isFenced) {
      this.#later('fenced', () => {
        this.#failed(writer, 'fenced');
      });
      return;
    }
    const withRows = reads.flatMap(({ ops }) => ops).filter(({ rows }) => rows > 0);
    if (stream.sink.delivery === 'exactly-once')
      this.#append(writer, [withRows], () => {
        this.#commit(writer, written);
      });
    else
      this.#append(
        writer,
        withRows.map((op) => [op]),
        () => {
          this.#appended(writer, written);
        },
      );
  }

  /**
   * The position follows later, but for the first: without any in the sink nobody who comes back could tell that another
   * writer came between.
   */
  #appended(writer: Writer, written: Written): void {
    const { process, stream, world } = this.#options;
    const { position } = written;
    const isDone = (): void => {
      this.#options.trail.acked(position, { producerId: 0n, epoch: writer.epoch });
      this.#written(writer, written);
    };
    if (writer.saved === null && !world.rules.reportsUnsaved) {
      process.call(
        `${this.#label} save first ${position.opId.index}`,
        () => stream.sink.savePosition(writer.epoch, position),
        {
          lost: () => {
            this.#failed(writer, 'unavailable');
          },
          answered: (answer) => {
            if (answer !== 'done') this.#failed(writer, answer);
            else {
              writer.saved = position;
              isDone();
            }
          },
        },
      );
      return;
    }
    writer.unsaid = position;
    this.#savePositionLater(writer);
    isDone();
  }

  /** Slice after slice, each when the one before is there. */
  #append(writer: Writer, slices: readonly (readonly Entry[])[], then: () => void): void {
    const { process, stream } = this.#options;
    const { epoch } = writer;
    const [slice, ...rest] = slices;
    if (!slice) {
      this.#later('written', then);
      return;
    }
    process.call(
      `${this.#label} append ${slice.map(({ index }) => index).join()}`,
      () => stream.sink.append(epoch, slice),
      {
        lost: () => {
          this.#failed(writer, 'unavailable');
        },
        answered: (answer) => {
          if (answer === 'done') this.#append(writer, rest, then);
          else this.#failed(writer, answer);
        },
      },
    );
  }

  #commit(writer: Writer, written: Written): void {
    const { process, stream } = this.#options;
    const { epoch } = writer;
    const { position } = written;
    stream.sink.askToCommit(epoch, position);
    process.call(`${this.#label} commit ${position.opId.index}`, () => stream.sink.commit(epoch, position), {
      lost: () => {
        this.#failed(writer, 'unavailable');
      },
      answered: (answer) => {
        if (answer === 'done') this.#written(writer, written);
        else this.#failed(writer, answer);
      },
    });
  }

  #savePositionLater(writer: Writer): void {
    const { process, stream, world } = this.#options;
    if (stream.sink.delivery === 'no-position') return;
    this.#later(
      'position due',
      () => {
        const position = writer.unsaid;
        if (position === null || writer !== this.#writer) return;
        writer.unsaid = null;
        const again = (): void => {
          writer.unsaid ??= position;
          if (!world.rules.reportsUnsaved) this.#savePositionLater(writer);
        };
        process.call(
          `${this.#label} save ${position.opId.index}`,
          () => stream.sink.savePosition(writer.epoch, position),
          {
            lost: again,
            answered: (answer) => {
              if (answer === 'unavailable') again();
              else if (answer === 'fenced') {
                writer.isFenced = true;
                this.#post({ kind: 'writer-fenced', writer: writer.opened });
              } else {
                writer.saved = position;
                this.#saw({ kind: 'saved', position });
              }
            },
          },
        );
      },
      { afterMs: POSITION_EVERY_MS },
    );
  }

  #written({ call, saved }: Writer, { position, worthIndex }: Written): void {
    const { world, process } = this.#options;
    this.#saw({
      kind: 'written',
      position,
      worthIndex,
      saved: world.rules.reportsUnsaved ? undefined : saved,
      sinkId: '',
    });
    world.mayBeKilled(process);
    this.#post({ kind: 'written', call });
  }

  #worthOf(reads: readonly Read[]): bigint | null {
    const isNews = ({ ops }: Read): boolean =>
      this.#options.world.rules.markersAreNews || ops.some(({ kind, rows }) => kind === 'no-op' || rows > 0);
    return reads.findLast(isNews)?.upTo.index ?? null;
  }

  #saw(event: SavedEvent): void {
    const { state, effects } = stepSaved(this.#saved, event);
    this.#saved = state;
    for (const effect of effects)
      if (effect.kind === 'report') this.#options.onAcked(effect.position, effect.worthIndex);
  }

  #sinkFailed(call: number): void {
    const holdsRoom = this.#log?.holdsRoom ?? false;
    this.#post({ kind: 'sink-failed', call, fault: AWAY, takesTurn: false, holdsRoom });
  }

  #failed(writer: Writer, answer: Exclude<SinkAnswer, 'done'>): void {
    const { call } = writer;
    writer.failed = true;
    if (answer === 'fenced') this.#post({ kind: 'sink-fenced', call });
    else this.#sinkFailed(call);
  }
}
